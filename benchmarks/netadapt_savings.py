"""Whether NetAdapt's predictions of what a change saves come true, and how long proposing takes.

    python -m benchmarks.netadapt_savings [--seeds mnasnet_a1 mobilenet_v1 …] [--record]

Each seed is shaved on a table of this machine as ``netadapt.run`` does it, but without training: in
every step one proposal is taken at random. In the end the last network is timed in turns with the
seed, and what the clock says was saved is compared with the sum of what the steps said. Proposals
(of all kinds, also those that are off by default) are timed on the seed's own table, which has all
that they look at.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks.environment import append_row, environment_columns
from latency.console import Terminal, Update
from latency.devices import LocalDevice
from latency.measure import ensure_table
from latency.options import make_parser, run_command
from latency.plan import MeasureSettings
from latency.table import LatencyTable
from nas.checks import check_range
from nas.settings import for_networks
from netadapt.changes import ProposalKind
from netadapt.clock import Clock
from netadapt.proposals import (
    Proposal,
    ProposalSettings,
    propose,
    steps_to_propose,
)
from netadapt.smallest import smallest_descendant
from netadapt.step_table import StepTable
from search_spaces.architecture import Architecture
from search_spaces.seeds import load_seed, seed_names

SEEDS = ("mnasnet_a1", "mobilenet_v3_large", "mobilenet_v2", "mobilenet_v1", "shufflenet_v2_x1_0")
MEASURE = MeasureSettings(runs=6, min_rounds=3, max_rounds=3)
EVERYTHING = ProposalSettings(kinds=tuple(ProposalKind))
AIM, REPEATS, SITTINGS = 0.05, 20, 64
PACKAGES = ("numpy", "onnxruntime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one seed's run showed.

    Attributes:
        seed_ms: what the seed takes.
        share: the last network's latency over the seed's, by the clock.
        interval: half the 95 % interval of ``share``, relative.
        predicted_ms, measured_ms: what was saved, by the steps and by the clock.
        least_delta: the least saving that was taken, over δ.
        proposals, propose_ms: of the seed, of all kinds: how many, and the time to find them.
    """

    seed: str
    seed_ms: float
    steps: int
    share: float
    interval: float
    predicted_ms: float
    measured_ms: float
    least_delta: float
    proposals: int
    propose_ms: float

    @property
    def agreement(self) -> float:
        """Predicted over measured."""
        return self.predicted_ms / self.measured_ms

    def columns(self) -> dict[str, str]:
        """A row of the results."""
        return {
            "seed": self.seed,
            "seed_ms": f"{self.seed_ms:.3f}",
            "steps": str(self.steps),
            "share": f"{self.share:.4f}",
            "interval": f"{self.interval:.4f}",
            "predicted_ms": f"{self.predicted_ms:.4f}",
            "measured_ms": f"{self.measured_ms:.4f}",
            "agreement": f"{self.agreement:.3f}",
            "least_delta": f"{self.least_delta:.2f}",
            "proposals": str(self.proposals),
            "propose_ms": f"{self.propose_ms:.1f}",
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Shave, compare, print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.netadapt_savings", __doc__ or "")
    add = parser.add_argument
    add("--seeds", nargs="+", choices=seed_names(), default=SEEDS, metavar="SEED", help="networks")
    add("--resolution", type=int, default=224, help="in pixels (%(default)s)")
    add("--share", type=float, default=0.75, help="of its latency, to come to (%(default)s)")
    add("--delta", type=float, default=0.01, help="of its latency, a step (%(default)s)")
    add("--random-seed", type=int, default=0, help="of what is chosen (%(default)s)")
    add("--record", action="store_true", help="append rows to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.netadapt_savings", lambda: _run(options))


def _run(options: argparse.Namespace) -> None:
    check_range("--share", options.share, 0.05, 0.99)
    check_range("--delta", options.delta, 0.001, 0.5)
    terminal, found = Terminal(), list[Figures]()
    environment = environment_columns(threads=MEASURE.threads, packages=PACKAGES)
    for name in options.seeds:
        seed = load_seed(name, resolution=options.resolution)
        with (
            tempfile.TemporaryDirectory(prefix="chronas-") as folder,
            terminal.progress(f"{name}: measuring") as update,
        ):
            found.append(shave(seed, Path(folder), options, update))
        if options.record:
            append_row("netadapt_savings", environment | found[-1].columns())
    print_figures(found)


def shave(seed: Architecture, folder: Path, options: argparse.Namespace, update: Update) -> Figures:
    """One seed's run."""
    device, path = LocalDevice(), folder / "table.jsonl"
    clock = Clock(device=device, settings=for_networks(MEASURE))
    smallest = smallest_descendant(seed, ProposalSettings())
    beside = clock.side_by_side(clock.entry(seed), clock.entry(smallest), folder)
    seed_ms = beside.first.median_ms
    table = ensure_table(device, path, steps_to_propose(seed, EVERYTHING), {}, MEASURE, update)
    proposals, propose_ms = _time_proposals(seed, table, options.delta)
    tables = StepTable(
        device=device,
        path=path,
        measure=MEASURE,
        proposals=ProposalSettings(),
        seed=seed,
        seed_ms=seed_ms,
    )
    chosen: list[Proposal] = []
    rng, network, delta_ms = random.Random(options.random_seed), seed, options.delta * seed_ms  # noqa: S311
    while seed_ms - sum(p.saved_ms for p in chosen) > options.share * seed_ms:
        update.describe(f"{seed.name}: step {len(chosen) + 1}")
        offered = propose(network, tables.of(network, delta_ms, update), delta_ms)
        if not offered:
            break
        chosen.append(rng.choice(offered))
        network = chosen[-1].architecture
    clock = replace(
        clock, settings=replace(clock.settings, min_rounds=SITTINGS, max_rounds=SITTINGS)
    )
    timed = clock.side_by_side(clock.entry(network), clock.entry(seed), folder)
    return Figures(
        seed=seed.name,
        seed_ms=seed_ms,
        steps=len(chosen),
        share=timed.ratio,
        interval=timed.interval,
        predicted_ms=sum(p.saved_ms for p in chosen),
        measured_ms=(1 - timed.ratio) * seed_ms,
        least_delta=min(p.saved_ms for p in chosen) / delta_ms,
        proposals=proposals,
        propose_ms=propose_ms,
    )


def _time_proposals(seed: Architecture, table: LatencyTable, delta: float) -> tuple[int, float]:
    """How many there are, and the milliseconds to find them."""
    delta_ms, seconds = delta * table.network_latency_ms(seed), []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        found = propose(seed, table, delta_ms, EVERYTHING)
        seconds.append(time.perf_counter() - begun)
    return len(found), 1e3 * median(seconds)


def print_figures(found: Sequence[Figures]) -> None:
    """A row a seed."""
    table = Table(title=f"predicted over measured saving; the aim is within {AIM:.0%}")
    for column in ("seed", "ms", "steps", "to", "predicted", "measured", "agreement", "met"):
        table.add_column(column, justify="left" if column == "seed" else "right")
    for column in ("least / δ", "proposals", "ms to propose"):
        table.add_column(column, justify="right")
    for f in found:
        table.add_row(
            f.seed,
            f"{f.seed_ms:.2f}",
            str(f.steps),
            f"{f.share:.1%} ± {f.share * f.interval:.1%}",
            f"{f.predicted_ms:.3f} ms",
            f"{f.measured_ms:.3f} ms",
            f"{f.agreement:.3f}",
            "yes" if abs(f.agreement - 1) <= AIM else "no",
            f"{f.least_delta:.2f}",
            str(f.proposals),
            f"{f.propose_ms:.1f}",
        )
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
