"""``python -m benchmarks.search_scaling``: many workers with nothing to do but ask and tell.

Drivers in several processes share one study in PostgreSQL through Optuna's gRPC proxy. Each asks
for a network, has it evaluated in no time, and tells; what is measured is everything else. Then
every trial is counted.
"""

import argparse
import multiprocessing
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from benchmarks.environment import append_row, environment_columns
from benchmarks.prediction import synthetic_table
from latency.console import Terminal
from latency.options import SPACES, make_parser, run_command
from nas.drivers import Driver
from nas.evaluators import Evaluation, Monitor
from nas.executors import ThreadExecutor
from nas.loop import SearchLoop
from nas.problem import Problem
from nas.reward import PowerReward
from nas.storage import open_storage
from nas.study import open_study
from search_spaces import Architecture
from search_spaces.spaces import Choices

PACKAGES = ("chronas", "grpcio", "optuna", "psycopg", "sqlalchemy")
STUDY = "scaling"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted and timed.

    Attributes:
        seconds: from the first trial's begin to the last one's end.
        finished_twice: trials whose number was finished again.
        lost: trials that nobody finished.
        surplus: trials closed unevaluated: asked for when another driver had asked for the last.
        driver_cpu_ms, proxy_cpu_ms: what all drivers, and the proxy, compute for each trial.
    """

    seconds: float
    trials_per_s: float
    finished: int
    finished_twice: int
    lost: int
    surplus: int
    driver_cpu_ms: float
    proxy_cpu_ms: float


class NoTime:
    """An accuracy that follows from the size, at once."""

    def evaluate(
        self,
        architecture: Architecture,
        choices: Choices,  # noqa: ARG002 - the interface's
        monitor: Monitor,  # noqa: ARG002
    ) -> Evaluation:
        return Evaluation(accuracy=1 - 1 / len(architecture.blocks))


class _Silent:
    """Shows nothing."""

    def started(self, *_: Any) -> None: ...

    def step(self, *_: Any) -> None: ...

    def finished(self, *_: Any) -> None: ...

    def stopped(self, *_: Any) -> None: ...

    def retried(self, *_: Any) -> None: ...

    def failed(self, number: int, reason: str) -> None:
        raise RuntimeError(f"trial {number}: {reason}")


def drive(url: str, problem: Problem, name: str, seed: int, trials: int, workers: int) -> None:
    """One driver, until the study has its trials."""
    storage = open_storage(url, Path())
    study = open_study(storage, STUDY)
    study.sampler = optuna.samplers.RandomSampler(seed=seed)
    executor = ThreadExecutor(workers)
    try:
        SearchLoop(
            study=study,
            driver=Driver(study, name),
            problem=problem,
            make_evaluator=NoTime,
            executor=executor,
            observer=_Silent(),
            seed=seed,
        ).run(trials)
    finally:
        executor.close()
        storage.close()


def drive_many(url: str, space: str, process: int, drivers: int, trials: int, workers: int) -> None:
    """A process of drivers, a thread each."""
    made = SPACES[space](resolution=224, num_classes=1000)
    problem = Problem.of(made, synthetic_table(made), reward=PowerReward(), targets_ms=(15.0,))
    threads = [
        threading.Thread(
            target=drive,
            args=(url, problem, f"{process}.{number}", 1000 * process + number, trials, workers),
        )
        for number in range(drivers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(
    database: str,
    space: str,
    *,
    drivers: int,
    workers: int,
    processes: int,
    trials: int,
    terminal: Terminal,
) -> Figures:
    """Run the drivers against a proxy before ``database``, then count what it holds."""
    port = 13111
    proxy = subprocess.Popen(
        [sys.executable, "-m", "nas.storage_proxy", "--storage", database, "--port", str(port)]
    )
    storage = open_storage(database, Path())
    try:
        url = f"grpc://localhost:{port}"
        open_storage(url, Path()).close()  # waits until the proxy answers
        context = multiprocessing.get_context("spawn")
        shares = [drivers // processes + (p < drivers % processes) for p in range(processes)]
        each = workers // drivers
        begun_s = _cpu_s()
        pool = [
            context.Process(target=drive_many, args=(url, space, number, share, trials, each))
            for number, share in enumerate(shares)
        ]
        for process in pool:
            process.start()
        study = open_study(storage, STUDY)
        with terminal.progress(f"{workers} workers") as update:
            while any(process.is_alive() for process in pool):
                time.sleep(1)
                finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
                update(len(finished), trials)
        for process in pool:
            process.join()
        driven_s = _cpu_s()
        proxy.terminate()
        proxy.wait()
        cpu_s = (driven_s - begun_s, _cpu_s() - driven_s)
        return count(study, *cpu_s)
    finally:
        proxy.terminate()
        proxy.wait()
        storage.close()


def _cpu_s() -> float:
    """Of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def count(study: optuna.Study, driver_cpu_s: float = 0.0, proxy_cpu_s: float = 0.0) -> Figures:
    """What became of every trial; the time is from the first that began to the last that ended."""
    known = study.get_trials(deepcopy=False)
    states = Counter(trial.state for trial in known)
    complete = [trial for trial in known if trial.state == TrialState.COMPLETE]
    begun = min(trial.datetime_start for trial in complete if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in complete if trial.datetime_complete)
    seconds = (ended - begun).total_seconds()
    return Figures(
        seconds=seconds,
        trials_per_s=len(complete) / seconds,
        finished=len(complete),
        finished_twice=len(complete) - len({trial.number for trial in complete}),
        lost=states[TrialState.RUNNING] + states[TrialState.WAITING],
        surplus=states[TrialState.FAIL],
        driver_cpu_ms=1e3 * driver_cpu_s / len(complete),
        proxy_cpu_ms=1e3 * proxy_cpu_s / len(complete),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.search_scaling", __doc__ or "")
    add = parser.add_argument
    add("--storage", required=True, metavar="URL", help="postgresql://…, an empty database")
    add("--space", choices=SPACES, default="mobilenet_v3", help="(%(default)s)")
    add("--workers", type=int, default=200, help="in all (%(default)s)")
    add("--drivers", type=int, help="that have so many of them each (a worker each)")
    add("--processes", type=int, default=4, help="that they are threads of (%(default)s)")
    add("--trials", type=int, default=2000, help="in all (%(default)s)")
    add("--record", action="store_true", help="append a row to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.search_scaling", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    for name in ("workers", "processes", "trials"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} must be 1 or more, but got {getattr(options, name)}")
    drivers = options.workers if options.drivers is None else options.drivers
    if not 1 <= drivers <= options.workers or options.workers % drivers:
        raise ValueError(
            f"--drivers must divide the {options.workers} workers, but got {options.drivers}"
        )
    terminal = Terminal()
    figures = measure(
        options.storage,
        options.space,
        drivers=drivers,
        workers=options.workers,
        processes=options.processes,
        trials=options.trials,
        terminal=terminal,
    )
    for name, value in asdict(figures).items():
        terminal.line(f"{name:15} {value:>10,.1f}" if name != "lost" else f"{name:15} {value:>10}")
    is_whole = figures.finished == options.trials and not figures.finished_twice + figures.lost
    terminal.line(f"every trial finished once: {'yes' if is_whole else 'NO'}")
    if options.record:
        row = environment_columns(PACKAGES, threads=options.processes)
        row |= {name: str(getattr(options, name)) for name in ("space", "workers", "processes")}
        row |= {"drivers": str(drivers)}
        row |= {name: f"{value:.5g}" for name, value in asdict(figures).items()}
        terminal.line(f"recorded in {append_row('search_scaling', row)}")


if __name__ == "__main__":
    sys.exit(main())
