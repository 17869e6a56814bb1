"""A search from end to end: table, trials, winner, hand-over, report.

Measuring and trials resume entry by entry and trial by trial; the last stage starts again.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
from optuna.exceptions import OptunaError

from latency.console import Terminal
from latency.devices.base import DeviceError
from latency.measure import ensure_table
from latency.plan import whole_networks
from latency.reach import reachable_range_ms, reachable_steps
from latency.table import LatencyTable
from nas.export import ExportError
from nas.handover import hand_over
from nas.report.figures import draw_pareto
from nas.report.page import render_page
from nas.report.summary import build_summary, summary_lines
from nas.report.trials import trial_table
from nas.run_folder import RunFolder
from nas.setup import Search
from nas.study import Candidate, SearchLoop, candidates, open_study, ranked
from nas.training.loop import DivergenceError, StepCallback
from nas.winner import Finalist, NetworkClock, choose_winner

FAILURES = (
    ValueError,
    OSError,
    DeviceError,
    DivergenceError,
    ExportError,
    OptunaError,
)
"""What a person can mend; shown as one line."""

MAY_CHANGE_ON_RESUME = frozenset({"trials", "finalists", "final"})


def run_search(search: Search, terminal: Terminal) -> dict[str, Any]:
    """Search, hand over the winner, and return the summary.

    Raises:
        any of ``FAILURES``: with a message for the person who gave the command.
        KeyboardInterrupt: stopped; what was found so far is in the run folder.
    """
    folder = RunFolder(search.folder, search.config, MAY_CHANGE_ON_RESUME)
    try:
        table = _measure_space(search, terminal)
        reachable_ms = _check_target(search, table, terminal)
    except BaseException:
        folder.discard()
        raise
    try:
        return _search_and_hand_over(search, folder, table, reachable_ms, terminal)
    finally:
        folder.close()


def _search_and_hand_over(
    search: Search,
    folder: RunFolder,
    table: LatencyTable,
    reachable_ms: tuple[float, float],
    terminal: Terminal,
) -> dict[str, Any]:
    finished = _run_trials(search, folder, table, terminal)
    summary: dict[str, Any] | None = folder.read_json("summary.json")
    if summary is not None and summary["decided_by"] == _decided_by(search, finished):
        terminal.line(f"{folder.path} is finished; more trials: trials=…, another run: name=…")
    else:
        folder.remove("summary.json", "report.html")  # those of another winner
        summary = _finish(search, folder, table, reachable_ms, finished, terminal)
    terminal.line()
    for line in summary_lines(summary, str(folder.path)):
        terminal.line(line)
    return summary


def _decided_by(search: Search, finished: list[Candidate]) -> dict[str, Any]:
    """What the last stage depends on beside the settings that never change in a run."""
    settings = search.settings
    return {
        "trials": len(finished),
        "finalists": settings.finalists,
        "final": dataclasses.asdict(settings.final),
    }


def _measure_space(search: Search, terminal: Terminal) -> LatencyTable:
    """The table with every block that the space can reach; what it lacks is measured."""
    settings = search.settings
    with terminal.progress("listing the space's blocks"):
        steps = reachable_steps(search.space)
        networks = whole_networks(search.space)
    with terminal.progress(f"measuring blocks on this device ({settings.table})") as update:
        table = ensure_table(
            search.device, settings.table, steps, networks, settings.measure, update, terminal.line
        )
    terminal.line(f"latency table: {len(table)} entries in {settings.table}")
    if validation := table.validation():
        terminal.line(
            f"  validated on {validation.prediction.networks} other networks of the space:"
        )
        terminal.line(f"  predictions  {validation.prediction}")
        terminal.line(f"  noise floor  {validation.noise}")
    return table


def _check_target(search: Search, table: LatencyTable, terminal: Terminal) -> tuple[float, float]:
    settings = search.settings
    with terminal.progress("comparing the target with what the space can reach"):
        low, high = reachable_range_ms(search.space, table)
    where = f"networks of {search.space.name} at {settings.resolution}×{settings.resolution}"
    if settings.target_ms < low:
        raise ValueError(
            f"target_latency={settings.target_ms:g}ms cannot be met: {where} take {low:.2f} to "
            f"{high:.2f} ms on this device; give a target in that range, or a lower resolution=…"
        )
    terminal.line(f"target {settings.target_ms:g} ms; {where} take {low:.2f} to {high:.2f} ms")
    if settings.target_ms >= high:
        terminal.line("every network of the space meets the target; a lower one would be harder")
    return low, high


def _run_trials(
    search: Search, folder: RunFolder, table: LatencyTable, terminal: Terminal
) -> list[Candidate]:
    settings = search.settings
    with terminal.progress("opening the study"):
        study = open_study(folder.path / "study.db", settings.name, search.make_sampler)
    known = candidates(study)
    if folder.is_resumed:
        terminal.line(
            f"resuming {folder.path}: {len(known)} of {settings.trials} trials are finished"
        )
    loop = SearchLoop(
        study=study,
        space=search.space,
        table=table,
        evaluator=search.evaluator,
        reward=search.reward,
        target_ms=settings.target_ms,
        observer=_TrialLines(settings.trials, len(known), terminal),
    )
    try:
        loop.run(settings.trials)
    except KeyboardInterrupt:
        _say_best_so_far(search, folder, candidates(study), terminal)
        raise
    return candidates(study)


class _TrialLines:
    """A line a trial."""

    def __init__(self, trials: int, finished: int, terminal: Terminal) -> None:
        self._trials = trials
        self._finished = finished
        self._terminal = terminal

    @contextmanager
    def training(self, number: int, latency_ms: float) -> Iterator[StepCallback]:
        description = f"trial {number}: training a network of {latency_ms:.2f} ms"
        with self._terminal.progress(description) as update:
            yield update

    def finished(self, candidate: Candidate, best: Candidate) -> None:
        self._finished += 1
        self._terminal.line(
            f"[{self._finished}/{self._trials}] trial {candidate.number}: {_describe(candidate)}; "
            f"best: trial {best.number}, {_describe(best)}"
        )

    def failed(self, number: int, reason: str) -> None:
        self._terminal.line(f"trial {number} failed: {reason}")


def _describe(candidate: Candidate) -> str:
    return (
        f"accuracy {candidate.accuracy:.1%}, {candidate.latency_ms:.2f} ms, "
        f"reward {candidate.reward:.4f}"
    )


def _say_best_so_far(
    search: Search, folder: RunFolder, found: list[Candidate], terminal: Terminal
) -> None:
    terminal.line()
    if not found:
        return
    best = ranked(found, search.settings.target_ms)[0]
    _write_trials(folder, found)
    architecture = search.space.build(best.choices, name=f"{search.space.name}_{best.number}")
    folder.write("best_so_far.yaml", architecture.to_yaml().encode())
    terminal.line(
        f"stopped after {len(found)} of {search.settings.trials} trials; best so far: trial "
        f"{best.number}, {_describe(best)}, in {folder.path}/best_so_far.yaml"
    )


def _write_trials(folder: RunFolder, found: list[Candidate]) -> pd.DataFrame:
    table = trial_table(found)
    folder.write("trials.csv", table.to_csv(index=False).encode())
    return table


def _finish(
    search: Search,
    folder: RunFolder,
    table: LatencyTable,
    reachable_ms: tuple[float, float],
    found: list[Candidate],
    terminal: Terminal,
) -> dict[str, Any]:
    trials = _write_trials(folder, found)
    winner = _measure_finalists(search, folder, found, terminal)
    handover = hand_over(
        winner.architecture, search.data, search.settings, search.device, folder, terminal
    )
    summary = build_summary(
        search.settings,
        search.space,
        table,
        search.data,
        winner,
        handover,
        reachable_ms=reachable_ms,
        decided_by=_decided_by(search, found),
        command=search.command,
    )
    with terminal.progress("drawing the report"):
        figure = draw_pareto(
            trials,
            target_ms=search.settings.target_ms,
            winner=winner.candidate.number,
            base=next((c.number for c in found if c.choices == search.space.base_choices), None),
            base_name="base network",
        )
        folder.write("figures/pareto.png", figure)
        folder.write("report.html", render_page(summary, winner.architecture.to_yaml(), figure))
    folder.write_json("summary.json", summary)
    return summary


def _measure_finalists(
    search: Search, folder: RunFolder, found: list[Candidate], terminal: Terminal
) -> Finalist:
    settings = search.settings
    clock = NetworkClock(
        device=search.device, folder=folder.path, settings=settings.measure_networks
    )
    with terminal.progress("measuring the best networks end to end") as update:
        winner, measured = choose_winner(
            found, search.space, settings.target_ms, settings.finalists, clock, update
        )
    for finalist in measured:
        terminal.line(
            f"trial {finalist.candidate.number}: predicted {finalist.candidate.latency_ms:.2f} ms, "
            f"measured {finalist.measured.median_ms:.2f} ms"
        )
    return winner
