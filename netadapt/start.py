"""How a run begins: the seed measured and trained, the target known to be reachable, the table."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from latency.console import Terminal
from latency.devices.errands import NotMeasuredYet
from latency.measure import ensure_table
from latency.table import LatencyTable
from nas.run_folder import RunFolder
from nas.training import train
from nas.training.weights import load_weights, save_weights
from netadapt.clock import Clock, target_in_ms
from netadapt.journal import State
from netadapt.proposals import steps_to_propose
from netadapt.setup import NetAdaptRun
from netadapt.smallest import smallest_descendant
from netadapt.tuning import compare, parts_of
from search_spaces import build_model

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
        ValueError: the target is met by the seed, or no network can meet it.
    """
    known: dict[str, float] | None = folder.read_json(_FILE)
    if known is not None:
        return _start_of(run, folder.path, **known)
    try:
        with terminal.progress("measuring the seed end to end"):
            seed_ms, target_ms = _measure_seed(run, folder.path, clock)
    except NotMeasuredYet as waiting:
        raise waiting.along_with(lambda: _measure_table(run, terminal)) from None
    table = _measure_table(run, terminal)
    terminal.line(
        f"latency table: {len(table)} entries in {run.settings.table}; {run.seed.name} takes "
        f"{seed_ms:.2f} ms by the clock and {table.network_latency_ms(run.seed):.2f} ms by its "
        "blocks"
    )
    start = _start_of(
        run,
        folder.path,
        accuracy=_train_seed(run, folder.path, terminal),
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
            "accuracy": start.seed.accuracy,
            "measured_ms": start.seed.measured_ms,
            "target_ms": start.target_ms,
        },
    )


def _start_of(
    run: NetAdaptRun, path: Path, *, accuracy: float, measured_ms: float, target_ms: float
) -> Start:
    seed = State(
        architecture=run.seed,
        weights=path / "seed.pt",
        accuracy=accuracy,
        predicted_ms=measured_ms,  # all predictions are made from it
        measured_ms=measured_ms,
    )
    return Start(seed=seed, target_ms=target_ms)


def _measure_seed(run: NetAdaptRun, path: Path, clock: Clock) -> tuple[float, float]:
    """What the seed takes, and the target, in milliseconds."""
    smallest = smallest_descendant(run.seed, run.settings.proposals)
    found = clock.side_by_side(clock.entry(run.seed), clock.entry(smallest), path)
    seed_ms, least_ms = found.first.median_ms, found.second.median_ms
    target, target_ms = run.settings.target, target_in_ms(run.settings.target, seed_ms)
    if target_ms >= seed_ms:
        raise ValueError(
            f"target_latency={target} is met by the seed, which takes {seed_ms:.2f} ms on this "
            "device; give a lower one"
        )
    if target_ms < least_ms:
        raise ValueError(
            f"target_latency={target} cannot be reached: {run.seed.name} takes {seed_ms:.2f} ms "
            f"on this device, and as small as these kinds and this divisor allow {least_ms:.2f} "
            "ms; give a higher target, more kinds, or a lower resolution"
        )
    return seed_ms, target_ms


def _measure_table(run: NetAdaptRun, terminal: Terminal) -> LatencyTable:
    """Measure what the table lacks of the blocks that proposals of the seed could need."""
    settings = run.settings
    steps = steps_to_propose(run.seed, settings.proposals)
    with terminal.progress(f"measuring blocks on this device ({settings.table})") as update:
        return ensure_table(
            run.device, settings.table, steps, {}, settings.measure, update, terminal.line
        )


def _train_seed(run: NetAdaptRun, folder: Path, terminal: Terminal) -> float:
    """Write ``seed.pt``: the weights given, or trained ones; returns their accuracy."""
    settings, path = run.settings, folder / "seed.pt"
    used, kept = parts_of(run.tuning)
    torch.manual_seed(settings.random_seed)
    model = build_model(run.seed)
    if path.exists():
        model.load_state_dict(load_weights(path))
    elif run.weights is not None:
        _load(model, run.weights, run, terminal)
    elif (trained := _trained_before(run)).exists():
        _load(model, trained, run, terminal)
    else:
        with terminal.progress(f"training {run.seed.name}, which has no weights") as update:
            train(
                model,
                used,
                settings.pretrain,
                resolution=settings.proxy_resolution,
                seed=settings.random_seed,
                on_step=update,
            )
        save_weights(trained, model.state_dict())
    save_weights(path, model.state_dict())
    return compare(model, kept, settings.proxy_resolution)


def _trained_before(run: NetAdaptRun) -> Path:
    """Where runs with the same seed, data and training leave its weights for each other."""
    settings, tuning = run.settings, run.tuning
    decides = run.seed, tuning.data, tuning.share, settings.pretrain, settings.proxy_resolution
    digest = hashlib.sha256(repr((*decides, settings.random_seed)).encode()).hexdigest()
    return run.folder.parent / ".seeds" / f"{run.seed.name}-{digest[:12]}.pt"


def _load(model: torch.nn.Module, path: Path, run: NetAdaptRun, terminal: Terminal) -> None:
    weights = load_weights(path)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ValueError(
            f"weights={path} are those of another network than {run.seed.name} with "
            f"{run.seed.num_classes} classes"
        ) from None
    terminal.line(f"weights of {run.seed.name} from {path}")
