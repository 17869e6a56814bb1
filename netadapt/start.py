"""How a run begins: the seed measured and trained, the target known to be reachable, the table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency.console import Terminal
from latency.devices.errands import NotMeasuredYet
from latency.measure import ensure_table
from latency.table import LatencyTable
from nas.run_folder import RunFolder
from netadapt.clock import Clock, target_in_ms
from netadapt.journal import State
from netadapt.proposals import steps_to_propose
from netadapt.seed import read_seed, train_seed, weights_source
from netadapt.setup import NetAdaptRun
from netadapt.smallest import smallest_descendant
from search_spaces import Architecture

_FILE = "start.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a run starts, and where it must come to.

    Attributes:
        seed: the seed, with its weights.
        target_ms: the latency to meet, where the seed takes ``seed.measured_ms``.
    """

    seed: State
    target_ms: float


def begin(run: NetAdaptRun, folder: RunFolder, clock: Clock, terminal: Terminal) -> Start:
    """Measure and train the seed, and measure the table; its figures stay where a run goes on.

    Raises:
        ValueError: the target is met by the seed, or no network can meet it; or the weights given
            are of another network.
    """
    weights = folder.path / "seed.pt"
    known: dict[str, Any] | None = folder.read_json(_FILE)
    if known is not None:
        network = Architecture.from_yaml(known.pop("architecture"))
        return _start_of(network, weights, **known)
    seed = read_seed(run.seed, weights_source(run), terminal.line)
    network = seed.architecture
    try:
        with terminal.progress("measuring the seed end to end"):
            seed_ms, target_ms = _measure_seed(run, network, folder.path, clock)
    except NotMeasuredYet as waiting:
        raise waiting.along_with(lambda: _measure_table(run, network, terminal)) from None
    table = _measure_table(run, network, terminal)
    terminal.line(
        f"latency table: {len(table)} entries in {run.settings.table}; {network.name} takes "
        f"{seed_ms:.2f} ms by the clock and {table.network_latency_ms(network):.2f} ms by its "
        "blocks"
    )
    start = _start_of(
        network,
        weights,
        accuracy=train_seed(seed, run, weights, terminal),
        measured_ms=seed_ms,
        target_ms=target_ms,
    )
    save_start(folder, start)
    return start


def save_start(folder: RunFolder, start: Start) -> None:
    """Keep the figures for whoever goes on."""
    folder.write_json(
        _FILE,
        {
            "architecture": start.seed.architecture.to_yaml(),
            "accuracy": start.seed.accuracy,
            "measured_ms": start.seed.measured_ms,
            "target_ms": start.target_ms,
        },
    )


def _start_of(
    network: Architecture, weights: Path, *, accuracy: float, measured_ms: float, target_ms: float
) -> Start:
    seed = State(
        architecture=network,
        weights=weights,
        accuracy=accuracy,
        predicted_ms=measured_ms,  # all predictions are made from it
        measured_ms=measured_ms,
    )
    return Start(seed=seed, target_ms=target_ms)


def _measure_seed(
    run: NetAdaptRun, seed: Architecture, path: Path, clock: Clock
) -> tuple[float, float]:
    """What the seed takes, and the target, in milliseconds."""
    smallest = smallest_descendant(seed, run.settings.proposals)
    found = clock.side_by_side(clock.entry(seed), clock.entry(smallest), path)
    seed_ms, least_ms = found.first.median_ms, found.second.median_ms
    target, target_ms = run.settings.target, target_in_ms(run.settings.target, seed_ms)
    if target_ms >= seed_ms:
        raise ValueError(
            f"target_latency={target} is met by the seed, which takes {seed_ms:.2f} ms on this "
            "device; give a lower one"
        )
    if target_ms < least_ms:
        raise ValueError(
            f"target_latency={target} cannot be reached: {seed.name} takes {seed_ms:.2f} ms "
            f"on this device, and as small as these kinds and this divisor allow {least_ms:.2f} "
            "ms; give a higher target, more kinds, or a lower resolution"
        )
    return seed_ms, target_ms


def _measure_table(run: NetAdaptRun, seed: Architecture, terminal: Terminal) -> LatencyTable:
    """Measure what the table lacks of the blocks that proposals of the seed could need."""
    settings = run.settings
    steps = steps_to_propose(seed, settings.proposals)
    with terminal.progress(f"measuring blocks on this device ({settings.table})") as update:
        return ensure_table(
            run.device, settings.table, steps, {}, settings.measure, update, terminal.line
        )
