"""How many networks of a space are predicted in a second, all at once and one by one.

Run from the root of the repository: ``python -m benchmarks.prediction [--table FILE] [--record]``.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.environment import append_row, environment_columns
from latency.console import Terminal
from latency.context import After
from latency.keys import block_key, boundary_key
from latency.options import SPACES, make_parser, resolutions, run_command
from latency.predictor import SpacePredictor
from latency.reach import reachable_steps
from latency.table import Entry, LatencyTable
from search_spaces.spaces import SearchSpace
from search_spaces.spaces.staged import Indices

AIM = 1_000_000
NETWORKS = 1_000_000
SCALAR_NETWORKS = 200
COMPARED = 10_000
PACKAGES = ("numpy",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Networks a second, medians over the rounds; the columns of a row of results.

    Attributes:
        setup_ms: from the space and the table to the first prediction.
        batch_per_s, scalar_per_s: all at once, and one by one.
        speedup: the one over the other of the same round.
        compared, equal: networks predicted in both ways, and those of them that are ``==``.
    """

    setup_ms: float
    batch_per_s: float
    scalar_per_s: float
    speedup: float
    compared: int
    equal: int


def synthetic_table(space: SearchSpace) -> LatencyTable:
    """Random latencies of every block: 0.02 to 1 ms, and boundaries of a tenth of that."""
    steps = reachable_steps(space)
    highest_ms = {block_key(*step): 1.0 for step in steps}
    highest_ms |= {
        boundary_key(shape, after): 0.1 for _, shape, after in steps if after is not After.IMAGE
    }
    rng = random.Random(0)  # noqa: S311
    latencies_ms = {key: highest * rng.uniform(0.02, 1.0) for key, highest in highest_ms.items()}
    return unmeasured_table(latencies_ms, "synthetic")


def unmeasured_table(latencies_ms: Mapping[str, float], source: str) -> LatencyTable:
    """A table of latencies that are given, by key, and that nobody measured."""
    entries = [
        Entry(
            key=key,
            latency_ms=latency_ms,
            median_ms=latency_ms,
            interval=0.0,
            rounds=1,
            runs=1,
            drift=1.0,
            reference_ms=1.0,
        )
        for key, latency_ms in latencies_ms.items()
    ]
    return LatencyTable({}, entries, source)


def scalar_ms(space: SearchSpace, table: LatencyTable, indices: Indices) -> list[float]:
    """The predictions one by one: choices → network → sum over its blocks."""
    return [table.network_latency_ms(space.build(space.choices_at(row))) for row in indices]


def count_equal(
    space: SearchSpace, table: LatencyTable, indices: Indices, terminal: Terminal
) -> int:
    """How many networks have ``==`` predictions in both ways."""
    batch, equal = SpacePredictor(space, table).predict_ms(indices), 0
    with terminal.progress("comparing both ways") as update:
        for begin in range(0, len(indices), SCALAR_NETWORKS):
            part = slice(begin, begin + SCALAR_NETWORKS)
            equal += int((batch[part] == scalar_ms(space, table, indices[part])).sum())
            update(part.stop, len(indices))
    return equal


def measure(space: SearchSpace, table: LatencyTable, rounds: int, terminal: Terminal) -> Figures:
    """Both ways in turns in each round, so that drift of the machine meets both alike."""
    begun = time.perf_counter()
    predictor = SpacePredictor(space, table)
    rng = np.random.default_rng(0)
    predictor.predict_ms(space.sample_indices(1, rng))
    setup_s = time.perf_counter() - begun
    indices = space.sample_indices(NETWORKS, rng)
    batch, scalar = [], []
    with terminal.progress("timing both ways") as update:
        for number in range(rounds):
            begun = time.perf_counter()
            predictor.predict_ms(indices)
            batched = time.perf_counter()
            scalar_ms(space, table, indices[:SCALAR_NETWORKS])
            batch.append(NETWORKS / (batched - begun))
            scalar.append(SCALAR_NETWORKS / (time.perf_counter() - batched))
            update(number + 1, rounds)
    compared = space.sample_indices(COMPARED, rng)
    return Figures(
        setup_ms=1e3 * setup_s,
        batch_per_s=statistics.median(batch),
        scalar_per_s=statistics.median(scalar),
        speedup=statistics.median(a / b for a, b in zip(batch, scalar, strict=True)),
        compared=len(compared),
        equal=count_equal(space, table, compared, terminal),
    )


def print_figures(figures: Figures, terminal: Terminal) -> None:
    terminal.line(f"tables built in             {figures.setup_ms:>12,.0f} ms")
    terminal.line(f"all at once, one core       {figures.batch_per_s:>12,.0f} networks a second")
    terminal.line(f"one by one                  {figures.scalar_per_s:>12,.0f} networks a second")
    terminal.line(f"ratio                       {figures.speedup:>12,.0f} ×")
    terminal.line(f"equal to the last bit       {figures.equal:>12,} of {figures.compared:,}")
    met = figures.batch_per_s >= AIM and figures.equal == figures.compared
    terminal.line(f"aim: {AIM:,} networks a second, and all equal: {'met' if met else 'missed'}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.prediction", __doc__ or "")
    add = parser.add_argument
    add("--space", choices=SPACES, default="mobilenet_v3", help="(%(default)s)")
    sizes = "that the table is of, one or several: 160,192,224 (%(default)s)"
    add("--resolution", type=resolutions, default="224", metavar="PIXELS", help=sizes)
    add("--num-classes", type=int, default=1000, help="that the table is of (%(default)s)")
    add("--table", type=Path, metavar="FILE", help="a measured table (random latencies)")
    add("--rounds", type=int, default=15, help="samples of each figure (%(default)s)")
    add("--record", action="store_true", help="append a row to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.prediction", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    if options.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, but got {options.rounds}")
    terminal = Terminal()
    space = SPACES[options.space](resolution=options.resolution, num_classes=options.num_classes)
    table = synthetic_table(space) if options.table is None else LatencyTable.load(options.table)
    figures = measure(space, table, options.rounds, terminal)
    print_figures(figures, terminal)
    if options.record:
        row = environment_columns(PACKAGES, threads=1)
        row |= {"space": options.space, "table": "random" if options.table is None else "measured"}
        row |= {"rounds": str(options.rounds)}
        for name, value in asdict(figures).items():
            row[name] = str(value) if isinstance(value, int) else f"{value:.4g}"
        terminal.line(f"recorded in {append_row('prediction', row)}")


if __name__ == "__main__":
    sys.exit(main())
