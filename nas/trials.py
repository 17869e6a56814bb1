"""The trials of a search, from an opened storage to the last one finished."""

import json
import platform
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import optuna
import pandas as pd

from latency.console import Terminal
from latency.table import LatencyTable
from nas.drivers import Driver
from nas.evaluation import EvaluationError, Steps, prepare_evaluator
from nas.evaluators import KnowsSome, NeedsPreparation
from nas.executors import Died, Failed, Finished, Retried, Told
from nas.limits import LIMITED
from nas.loop import SearchLoop
from nas.problem import Problem
from nas.progress import SearchProgress, describe, noise_warning
from nas.report.trials import trial_table
from nas.run_folder import RunFolder
from nas.setup import Search
from nas.storage import open_storage
from nas.study import Candidate, candidates, is_counted, open_study, ranked
from nas.training.failures import TrainingError
from nas.training.meter import DivergenceError
from nas.units import format_latency

DRIVER_FILE = "driver.json"
_NOTES = {"target_latency": " (times headroom where netadapt=true)"}
"""What a message says of settings beside their values."""
_LATENCY_TOLERANCE = 0.05
_SHARED = (
    "space", "resolution", "proxy_resolution", "evaluator", "data", "reward", *LIMITED, "seed",
)  # fmt: skip
"""Settings that all processes of a study have alike, beside the targets."""


def build_problem(search: Search, table: LatencyTable, terminal: Terminal) -> Problem:
    """Look up every network of the space; refuse limits that none of them keeps.

    Raises:
        ValueError: no network is within the limits.
    """
    evaluator = search.evaluator
    with terminal.progress("looking up the space's networks"):
        problem = Problem.of(
            search.space,
            table,
            reward=search.reward,
            targets_ms=search.settings.targets_ms,
            limits=search.limits,
            members=evaluator.members() if isinstance(evaluator, KnowsSome) else None,
        )
        problem.check_limits()
    return problem


@contextmanager
def opened_study(
    search: Search, folder: RunFolder, problem: Problem, terminal: Terminal
) -> Iterator[optuna.Study]:
    """The study of a search, with its sampler and its pruner, until its storage is closed.

    Raises:
        ValueError: the study is one of another search, or the sampler's settings are no good.
        StorageError: the storage cannot be used.
    """
    settings = search.settings
    storage = open_storage(settings.storage, folder.path / "study.db", on_wait=terminal.line)
    try:
        study = open_study(storage, settings.study, pareto=search.sampler.pareto)
        known = len(study.get_trials(deepcopy=False))
        study.sampler = search.sampler.make(problem, _sampler_seed(search, known))
        study.pruner = search.pruner
        _check_study(study, search, problem, known)
        yield study
    finally:
        storage.close()


def run_trials(
    search: Search, folder: RunFolder, study: optuna.Study, problem: Problem, terminal: Terminal
) -> list[Candidate]:
    """Prepare the evaluator, evaluate as many networks as were asked for, and return them all.

    Raises:
        ValueError: no network can be evaluated.
        StorageError: the storage cannot be used.
        EvaluationError: the evaluator has a fault.
        KeyboardInterrupt: stopped; the best network so far is in the folder.
    """
    settings = search.settings
    finished = sum(map(is_counted, study.get_trials(deepcopy=False)))
    if folder.is_resumed or finished:
        terminal.line(
            f"resuming {folder.path}: {finished} of {settings.trials} trials are finished"
        )
    progress = SearchProgress(
        terminal,
        trials=settings.trials,
        found=candidates(study),
        finished=finished,
        targets_ms=settings.targets_ms,
        reward=search.reward,
    )
    try:
        if finished < settings.trials:
            _prepare(search, terminal)
            with progress.shown():
                _loop(search, study, problem, _driver_name(folder), progress).run(settings.trials)
    except KeyboardInterrupt:
        # Not read from the storage: it may be away, and why the search was stopped.
        _say_best_so_far(search, folder, progress.found, terminal)
        raise
    finally:
        search.executor.close()
    found = candidates(study)
    if warning := noise_warning(found):
        terminal.line(warning)
    return found


def _loop(
    search: Search, study: optuna.Study, problem: Problem, name: str, progress: SearchProgress
) -> SearchLoop:
    return SearchLoop(
        study=study,
        driver=Driver(study, name, patience_s=search.settings.driver_patience_s),
        problem=problem,
        make_evaluator=search.recipe,
        executor=search.executor,
        observer=progress,
        seed=search.settings.seed,
        pareto=search.sampler.pareto,
        prunes=search.prunes,
    )


def _prepare(search: Search, terminal: Terminal) -> None:
    """Let the evaluator do what it has to do once, where networks will be evaluated."""
    if not isinstance(search.evaluator, NeedsPreparation):
        return
    executor = search.executor
    with terminal.progress("preparing the evaluator") as update:
        # The time limit is of one network.
        executor.submit("prepare", partial(prepare_evaluator, search.recipe), limited=False)
        while events := executor.wait():
            for event in events:
                match event:
                    case Told(message=Steps(done, total)):
                        update(done, total)
                    case Retried(reason=reason):
                        terminal.line(f"preparing the evaluator goes on: {reason}")
                    case Failed(
                        error=ValueError()
                        | OSError()
                        | DivergenceError()
                        | TrainingError() as error
                    ):
                        raise error
                    case Failed(error=error):
                        raise EvaluationError.of(
                            "the evaluator could not be prepared", error
                        ) from error
                    case Died(reason=reason):
                        raise ValueError(f"the evaluator could not be prepared: {reason}")
                    case Finished():
                        return


def _driver_name(folder: RunFolder) -> str:
    """This run's name among those that share a study: its own again when it is resumed."""
    name = folder.read_json(DRIVER_FILE)
    if name is None:
        name = uuid.uuid4().hex
        folder.write_json(DRIVER_FILE, name)
    return str(name)


def _sampler_seed(search: Search, known: int) -> int:
    """The seed of a sampler that begins where ``known`` trials are there."""
    settings = search.settings
    # Seeded alike after a resume, a sampler would draw the same networks again.
    seed = settings.seed + known
    if settings.storage is not None:
        # And so would drivers that begin together. On machines of their own, they may be called
        # alike.
        seed += zlib.crc32(f"{settings.name} on {platform.node()}".encode())
    return seed % 2**32


def _check_study(study: optuna.Study, search: Search, problem: Problem, known: int) -> None:
    """What is in a study must be of the same search, on the same latencies.

    ``known`` trials were there before; a search says what it is before its first one.

    Raises:
        ValueError: it is not; the message says what differs.
    """
    ours = {name: json.dumps(search.config.get(name), sort_keys=True) for name in _SHARED}
    # Headroom included: a process that only helps has no second stage, and is given the product.
    targets = ",".join(map(format_latency, search.settings.targets_ms))
    ours["target_latency"] = json.dumps(targets)
    theirs = study.user_attrs.get("search")
    base_ms = float(problem.latency_ms(problem.row(search.space.base_choices))[0])
    if theirs is None:
        if known:
            raise ValueError(
                f"the study {study.study_name!r} has {known} trials of another program; give "
                "another study=…"
            )
        study.set_user_attr("search", ours)
        study.set_user_attr("base_latency_ms", base_ms)
        return
    for name, value in ours.items():
        if theirs.get(name) != value:
            raise ValueError(
                f"the study {study.study_name!r} is of a search with {name}={theirs.get(name)}, "
                f"but now it is {value}{_NOTES.get(name, '')}; give another study=… or name=…"
            )
    began_ms = study.user_attrs.get("base_latency_ms", base_ms)
    if abs(began_ms / base_ms - 1) > _LATENCY_TOLERANCE:
        raise ValueError(
            f"the study {study.study_name!r} was begun with other latencies: its base network "
            f"takes {began_ms:.2f} ms there and {base_ms:.2f} ms by {search.settings.table}; give "
            "the same table=…, or another study=… or name=…"
        )


def _say_best_so_far(
    search: Search, folder: RunFolder, found: list[Candidate], terminal: Terminal
) -> None:
    terminal.line()
    if not found:
        return
    target_ms = search.settings.targets_ms[0]
    best = ranked(found, target_ms, search.reward)[0]
    write_trials(folder, found)
    architecture = search.space.build(best.choices, name=f"{search.space.name}_{best.number}")
    folder.write("best_so_far.yaml", architecture.to_yaml().encode())
    terminal.line(
        f"stopped after {len(found)} of {search.settings.trials} trials; best so far: trial "
        f"{best.number}, {describe(best, target_ms)}, in {folder.path}/best_so_far.yaml"
    )


def write_trials(folder: RunFolder, found: list[Candidate]) -> pd.DataFrame:
    """Write ``trials.csv``; returns the table."""
    table = trial_table(found)
    folder.write("trials.csv", table.to_csv(index=False).encode())
    return table
