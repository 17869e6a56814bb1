"""A search from end to end: table, trials, winners, hand-over, report.

Measuring and trials resume entry by entry and trial by trial, the last stage winner by winner: one
that is trained is not trained again.
"""

from contextlib import ExitStack
from typing import Any

import pandas as pd
from optuna.exceptions import OptunaError

from latency.console import Terminal
from latency.devices.base import DeviceError
from latency.devices.errands import Errand, NotMeasuredYet
from latency.measure import ensure_table
from latency.plan import whole_networks
from latency.reach import reachable_steps
from latency.table import LatencyTable
from nas.evaluation import EvaluationError
from nas.evaluators import GivesWeights
from nas.exporting.onnx_file import ExportError
from nas.handover import Handover, LastStage
from nas.problem import Problem
from nas.report.contents import base_trial, search_report
from nas.report.figures import draw_pareto
from nas.report.page import render_page
from nas.report.summary import build_summary, summary_lines
from nas.run_folder import Folder, RunFolder
from nas.setup import Search
from nas.storage import StorageError
from nas.study import Candidate
from nas.training.failures import TrainingError
from nas.training.full import FullTraining
from nas.training.meter import DivergenceError
from nas.trials import build_problem, opened_study, run_trials, write_trials
from nas.units import format_latency
from nas.winner import Finalist, NetworkClock, choose_winner
from search_spaces import Architecture
from search_spaces.spaces import SearchSpace

FAILURES = (
    ValueError,
    OSError,
    DeviceError,
    DivergenceError,
    EvaluationError,
    ExportError,
    OptunaError,
    StorageError,
    TrainingError,
)
"""What a person can mend; shown as one line."""

_SPEED_FILE, _SPEED_TOLERANCE = "speed.json", 0.25
MAY_CHANGE_ON_RESUME = frozenset(
    {
        "trials",
        "finalists",
        "final",
        "handover",
        "executor",
        "pruner",
        "driver_patience_s",
        "netadapt",
    }
)


def run_search(search: Search, terminal: Terminal) -> dict[str, Any]:
    """Search, hand over the winner of each target, and return the summaries by target.

    Raises:
        any of ``FAILURES``: with a message for the person who gave the command.
        KeyboardInterrupt: stopped; what was found so far is in the run folder.
    """
    for note in search.notes:
        terminal.line(note)
    folder = RunFolder(search.folder, search.config, MAY_CHANGE_ON_RESUME)
    with ExitStack() as begun:
        begun.callback(folder.close)
        try:
            table = at_speed_begun(search.space, _measure_space(search, terminal), folder)
            problem = build_problem(search, table, terminal)
            _check_targets(search, problem, terminal)
            with terminal.progress("opening the study"):
                study = begun.enter_context(opened_study(search, folder, problem, terminal))
        except BaseException:
            folder.discard()
            raise
        finished = run_trials(search, folder, study, problem, terminal)
        return _hand_over(search, folder, table, problem, finished, terminal)


def _hand_over(
    search: Search,
    folder: RunFolder,
    table: LatencyTable,
    problem: Problem,
    finished: list[Candidate],
    terminal: Terminal,
) -> dict[str, Any]:
    """The winner for each target."""
    trials = write_trials(folder, finished)
    if not search.settings.handover:
        terminal.line(f"{folder.path}/trials.csv: {len(finished)} networks; handover=true goes on")
        return {}
    summaries = {}
    errands: list[Errand] = []
    for target_ms in search.settings.targets_ms:
        part = Folder(search.folder_of(target_ms))
        try:
            summaries[format_latency(target_ms)] = _hand_over_one(
                search, part, table, problem, finished, trials, target_ms, terminal
            )
        except NotMeasuredYet as waiting:
            errands += waiting.errands  # one way to the device serves all targets
    if errands:
        raise NotMeasuredYet(errands)
    return summaries


def _hand_over_one(
    search: Search,
    folder: Folder,
    table: LatencyTable,
    problem: Problem,
    finished: list[Candidate],
    trials: pd.DataFrame,
    target_ms: float,
    terminal: Terminal,
) -> dict[str, Any]:
    """The winner for one target, unless it was handed over already."""
    decided_by = _decided_by(search, finished)
    summary: dict[str, Any] | None = folder.read_json("summary.json")
    if summary is not None and summary["decided_by"] == decided_by:
        terminal.line(f"{folder.path} is finished; more trials: trials=…, another run: name=…")
    else:
        folder.remove("summary.json", "report.html")  # those of another winner
        winner, finalists = _measure_finalists(search, folder, finished, target_ms, terminal)
        handover = _finish(search, folder, winner.architecture, terminal)
        summary = build_summary(
            search,
            table,
            winner,
            handover,
            finalists=finalists,
            target_ms=target_ms,
            reachable_ms=problem.predictor.range_ms,
            decided_by=decided_by,
        )
        _write_report(search, folder, summary, table, winner, finished, trials, terminal)
    terminal.line()
    for line in summary_lines(summary, str(folder.path)):
        terminal.line(line)
    return summary


def _finish(
    search: Search, folder: Folder, architecture: Architecture, terminal: Terminal
) -> Handover:
    """Where the evaluator has weights of the winner, its training starts from them."""
    settings, weights = search.settings, None
    if isinstance(search.evaluator, GivesWeights):
        with terminal.progress("taking the winner's weights over"):
            weights = search.evaluator.weights(architecture)
    stage = LastStage(
        data=search.data,
        device=search.device,
        training=FullTraining(
            settings=settings.final, group="final", seed=settings.seed, begins_anew=True
        ),
        measure=settings.measure_networks,
    )
    return stage.hand_over(architecture, weights, folder, terminal)


def _write_report(
    search: Search,
    folder: Folder,
    summary: dict[str, Any],
    table: LatencyTable,
    winner: Finalist,
    finished: list[Candidate],
    trials: pd.DataFrame,
    terminal: Terminal,
) -> None:
    with terminal.progress("drawing the report"):
        report = search_report(search, summary, table, winner, finished, trials)
        figure = draw_pareto(
            trials,
            target_ms=summary["latency"]["target_ms"],
            winner=winner.candidate.number,
            base=base_trial(search.space, finished),
            base_name="base network",
        )
        folder.write("figures/pareto.png", figure)
        folder.write("report.html", render_page(report))
    folder.write_json("summary.json", summary)


def _decided_by(search: Search, finished: list[Candidate]) -> dict[str, Any]:
    """What the last stage depends on beside the settings that never change in a run."""
    settings = search.settings
    return {
        "trials": len(finished),
        "finalists": settings.finalists,
        "final": settings.final.decisive(),
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


def at_speed_begun(space: SearchSpace, table: LatencyTable, folder: Folder) -> LatencyTable:
    """The table at the speed that the machine had when the search began.

    Entries that are added later, as by NetAdapt, move what is usual by some percent; the latencies
    of a search's trials are to stay comparable.

    Raises:
        ValueError: it is another table by far.
    """
    base = space.build(space.base_choices)
    now_ms, known = table.network_latency_ms(base), folder.read_json(_SPEED_FILE)
    if known is None:
        folder.write_json(_SPEED_FILE, {"base_ms": now_ms})
        return table
    began_ms = known["base_ms"]
    if abs(now_ms / began_ms - 1) > _SPEED_TOLERANCE:
        raise ValueError(
            f"{folder.path} was begun with other latencies: its base network took {began_ms:.2f} "
            f"ms, and now takes {now_ms:.2f} ms by {table.source}; give this run another name=…, "
            "or the table that it was begun with"
        )
    return table.at_speed_of(base, began_ms)


def _check_targets(search: Search, problem: Problem, terminal: Terminal) -> None:
    settings, space = search.settings, search.space
    low, high = problem.predictor.range_ms
    sizes = ", ".join(f"{size}×{size}" for size in settings.resolutions)
    where = f"networks of {space.name} at {sizes}"
    for target_ms in settings.targets_ms:
        if target_ms < low:
            raise ValueError(
                f"target_latency={target_ms:g}ms cannot be met: {where} take {low:.2f} to "
                f"{high:.2f} ms on this device; give a target in that range, or a lower "
                "resolution=…"
            )
        terminal.line(f"target {target_ms:g} ms; {where} take {low:.2f} to {high:.2f} ms")
        if target_ms >= high:
            terminal.line(
                "every network of the space meets the target; a lower one would be harder"
            )


def _measure_finalists(
    search: Search,
    folder: Folder,
    found: list[Candidate],
    target_ms: float,
    terminal: Terminal,
) -> tuple[Finalist, list[Finalist]]:
    """The winner, and all that were measured."""
    settings = search.settings
    clock = NetworkClock(
        device=search.device, folder=folder.path, settings=settings.measure_networks
    )
    with terminal.progress("measuring the best networks end to end") as update:
        winner, measured = choose_winner(
            found, search.space, target_ms, search.reward, settings.finalists, clock, update
        )
    for finalist in measured:
        terminal.line(
            f"trial {finalist.candidate.number}: predicted {finalist.candidate.latency_ms:.2f} ms, "
            f"measured {finalist.measured.median_ms:.2f} ms"
        )
    return winner, measured
