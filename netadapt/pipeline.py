"""A NetAdapt run from end to end: seed, steps, long training, hand-over, report.

Every stage is taken over from the run's folder where it is finished: the seed's weights, each
fine-tuned proposal, each step.
"""

import csv
import io
from typing import Any

import torch

from latency.console import Terminal, Update
from latency.context import walk_in_context
from latency.measure import ensure_table
from latency.table import LatencyTable
from nas.handover import LastStage
from nas.run_folder import RunFolder
from nas.training import train
from nas.training.weights import load_weights, save_weights
from nas.units import parse_latency_ms
from nas.winner import NetworkClock
from netadapt.journal import State
from netadapt.loop import NetAdaptLoop, states
from netadapt.proposals import missing_steps, steps_to_propose
from netadapt.report import draw_trajectory, summarise, summary_lines
from netadapt.setup import NetAdaptRun
from netadapt.tuning import compare, parts_of
from search_spaces import Architecture, build_model

MAY_CHANGE_ON_RESUME = frozenset({"executor", "final"})
_AHEAD = 4
"""Changes of a place that are measured at once, where the table lacks what a step needs."""


def run_netadapt(run: NetAdaptRun, terminal: Terminal) -> dict[str, Any]:
    """Shave the seed until it meets the target, and hand it over; returns the summary.

    Raises:
        any of ``nas.pipeline.FAILURES``: with a message for the person who gave the command.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    folder = RunFolder(run.folder, run.config, MAY_CHANGE_ON_RESUME)
    try:
        clock = _Clock(run, folder)
        start, target_ms = _start(run, folder, clock, terminal)
    except BaseException:
        folder.discard()
        raise
    try:
        return _shave(run, folder, clock, start, target_ms, terminal)
    finally:
        run.executor.close()
        folder.close()


def target_of(target: str, seed_ms: float) -> float:
    """``10ms``, or ``80%`` of what the seed takes, in milliseconds.

    Raises:
        ValueError: it is neither, or not below what the seed takes.
    """
    if target.endswith("%"):
        try:
            share = float(target[:-1]) / 100
        except ValueError:
            share = -1.0
        if not 0 < share < 1:
            raise ValueError(
                f"target_latency in % must be above 0% and below 100% of the seed's latency, but "
                f"got {target!r:.80}"
            )
        return share * seed_ms
    target_ms = parse_latency_ms(target)
    if target_ms >= seed_ms:
        raise ValueError(
            f"target_latency={target} is met by the seed, which takes {seed_ms:.2f} ms on this "
            "device; give a lower one"
        )
    return target_ms


class _Clock:
    """Measures whole networks, and keeps what it measured in the run's folder."""

    def __init__(self, run: NetAdaptRun, folder: RunFolder) -> None:
        self._clock = NetworkClock(
            device=run.device, folder=folder.path, settings=run.settings.measure_networks
        )

    def __call__(self, architecture: Architecture) -> float:
        return self._clock(architecture).median_ms


def _measure(run: NetAdaptRun, terminal: Terminal) -> LatencyTable:
    """The table with every block that proposals of the seed could need."""
    settings = run.settings
    steps = steps_to_propose(run.seed, settings.proposals)
    with terminal.progress(f"measuring blocks on this device ({settings.table})") as update:
        return ensure_table(
            run.device, settings.table, steps, {}, settings.measure, update, terminal.line
        )


def _start(
    run: NetAdaptRun, folder: RunFolder, clock: _Clock, terminal: Terminal
) -> tuple[State, float]:
    """The seed, and the target in milliseconds. Its figures stay where a run goes on."""
    known: dict[str, float] | None = folder.read_json("start.json")
    if known is None:
        with terminal.progress("measuring the seed end to end"):
            seed_ms = clock(run.seed)
        target_ms = target_of(run.settings.target, seed_ms)
        table = _measure(run, terminal)
        known = {
            "accuracy": _train_seed(run, folder, terminal),
            "predicted_ms": table.network_latency_ms(run.seed),
            "measured_ms": seed_ms,
            "target_ms": target_ms,
        }
        folder.write_json("start.json", known)
    target_ms = known["target_ms"]
    figures = {name: figure for name, figure in known.items() if name != "target_ms"}
    return State(architecture=run.seed, weights=folder.path / "seed.pt", **figures), target_ms


def _train_seed(run: NetAdaptRun, folder: RunFolder, terminal: Terminal) -> float:
    """Write ``seed.pt``: the weights given, or trained ones; returns their accuracy."""
    settings, path = run.settings, folder.path / "seed.pt"
    used, kept = parts_of(run.tuning)
    torch.manual_seed(settings.random_seed)
    model = build_model(run.seed)
    if path.exists():
        model.load_state_dict(load_weights(path))
    else:
        if run.weights is not None:
            _load(model, run, terminal)
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
        save_weights(path, model.state_dict())
    return compare(model, kept, settings.proxy_resolution)


def _load(model: torch.nn.Module, run: NetAdaptRun, terminal: Terminal) -> None:
    assert run.weights is not None
    weights = load_weights(run.weights)
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise ValueError(
            f"weights={run.weights} are those of another network than {run.seed.name} with "
            f"{run.seed.num_classes} classes"
        ) from None
    terminal.line(f"weights of {run.seed.name} from {run.weights}")


def _shave(
    run: NetAdaptRun,
    folder: RunFolder,
    clock: _Clock,
    start: State,
    target_ms: float,
    terminal: Terminal,
) -> dict[str, Any]:
    summary: dict[str, Any] | None = folder.read_json("summary.json")
    if summary is None:
        _print_start(run, start, target_ms, terminal)
        with terminal.progress("shaving") as update:
            loop = NetAdaptLoop(
                folder=folder.path,
                tuning=run.tuning,
                proposals=run.settings.proposals,
                delta_ms=run.settings.delta * start.predicted_ms,
                decay=run.settings.decay,
                measure_proposals=lambda network, delta_ms: _complete(
                    run, network, delta_ms, update
                ),
                clock=clock,
                executor=run.executor,
                observer=_Progress(terminal, update, target_ms),
            )
            end = loop.run(start, target_ms)
        summary = _hand_over(run, folder, start, end, target_ms, terminal)
    terminal.line()
    for line in summary_lines(summary, str(folder.path)):
        terminal.line(line)
    return summary


def _print_start(run: NetAdaptRun, start: State, target_ms: float, terminal: Terminal) -> None:
    terminal.line(
        f"{run.seed.name}: accuracy {start.accuracy:.1%}, predicted {start.predicted_ms:.2f} ms, "
        f"measured {start.measured_ms:.2f} ms; target {target_ms:.2f} ms"
    )


def _complete(
    run: NetAdaptRun, network: Architecture, delta_ms: float, update: Update
) -> LatencyTable:
    """Measure what the table lacks of the network's proposals, a few changes of a place a time."""
    settings = run.settings
    table = LatencyTable.load(settings.table)
    wanted = walk_in_context(network)
    while missing := missing_steps(network, table, delta_ms, settings.proposals, ahead=_AHEAD):
        update.describe(f"measuring {len(missing)} blocks")
        table = ensure_table(
            run.device, settings.table, [*wanted, *missing], {}, settings.measure, update
        )
    return table


class _Progress:
    """Shows a person how a run goes."""

    def __init__(self, terminal: Terminal, update: Update, target_ms: float) -> None:
        self._terminal, self._update, self._target_ms = terminal, update, target_ms

    def tuning(self, step: int, done: float, proposals: int) -> None:
        self._update.describe(f"step {step}: fine-tuning {proposals} proposals")
        self._update(done, proposals)

    def chosen(self, step: int, change: str, before: State, now: State) -> None:
        drift = now.measured_ms / now.predicted_ms - 1
        self._terminal.line(
            f"step {step}: {change}; accuracy {before.accuracy:.1%} → {now.accuracy:.1%}, "
            f"predicted {now.predicted_ms:.2f} ms, measured {now.measured_ms:.2f} ms "
            f"({drift:+.1%}), target {self._target_ms:.2f} ms"
        )

    def note(self, text: str) -> None:
        self._terminal.line(text)


def _hand_over(
    run: NetAdaptRun,
    folder: RunFolder,
    start: State,
    end: State,
    target_ms: float,
    terminal: Terminal,
) -> dict[str, Any]:
    stage = LastStage(
        data=run.data,
        device=run.device,
        final=run.settings.final,
        measure=run.settings.measure_networks,
        seed=run.settings.random_seed,
    )
    handover = stage.hand_over(end.architecture, load_weights(end.weights), folder, terminal)
    steps = list(states(folder.path))
    folder.write("trajectory.csv", _trajectory(start, steps))
    folder.write("figures/trajectory.png", draw_trajectory(start, steps, target_ms))
    summary = summarise(run, start, end, handover, steps, target_ms)
    folder.write_json("summary.json", summary)
    return summary


def _trajectory(start: State, steps: list[tuple[str, dict[str, Any]]]) -> bytes:
    """A row a step, as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["step", "change", "accuracy", "predicted_ms", "measured_ms"])
    rows.writerow([0, "", start.accuracy, start.predicted_ms, start.measured_ms])
    for number, (change, each) in enumerate(steps, start=1):
        figures = (each[name] for name in ("accuracy", "predicted_ms", "measured_ms"))
        rows.writerow([number, change, *figures])
    return text.getvalue().encode()
