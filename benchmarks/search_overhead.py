"""What a trial costs beside its training: to be asked for, stored and told, by storage and sampler.

Run from the root of the repository: ``python -m benchmarks.search_overhead [--postgres URL]
[--record]``.
"""

import argparse
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, GrpcStorageProxy, get_storage

from benchmarks.environment import append_row, environment_columns
from benchmarks.prediction import synthetic_table
from benchmarks.search_efficiency import SAMPLERS, sampler_recipe
from benchmarks.search_problems import REWARDS
from latency.console import Terminal, Update
from latency.options import make_parser, run_command
from nas.asking import ask
from nas.problem import Problem, plain_figures
from nas.storage import StorageError, open_storage
from nas.study import RESULT, distributions
from search_spaces.spaces import mobilenet_v3_space

AIMS_MS = {"tpe": 50.0, "lookup_aware": 300.0}
PACKAGES = ("optuna", "sqlalchemy", "numpy", "torch")
TARGET_MS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Milliseconds a trial, medians over the rounds; the columns of a row of results.

    Attributes:
        trials: how many were finished before.
        ask_ms: until a trial has all its parameters, stored.
        tell_ms: until its result and its value are stored.
        trial_ms: both.
        cpu_ms: what this process computes of it; the rest is waiting for disks and servers.
        optuna_ms: ``trial_ms`` with Optuna's own storage, and ``suggest_categorical`` a choice.
        speedup: the one over the other of the same round.
    """

    storage: str
    sampler: str
    trials: int
    rounds: int
    ask_ms: float
    tell_ms: float
    trial_ms: float
    cpu_ms: float
    optuna_ms: float
    speedup: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Storages:
    """One place, opened in both ways."""

    name: str
    ours: BaseStorage
    optunas: BaseStorage


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Milliseconds that one trial took."""

    ask: float
    tell: float
    cpu: float

    @property
    def trial(self) -> float:
        return self.ask + self.tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search whose networks need no training, in our way or in Optuna's."""

    study: optuna.Study
    problem: Problem
    plain: bool

    def run_trial(self, sampler: BaseSampler, noise: float) -> Timed:
        self.study.sampler = sampler
        begun, computed = time.perf_counter(), time.process_time()
        trial = self._suggested() if self.plain else self._asked()
        asked = time.perf_counter()
        result = result_of(self.problem, trial, noise)
        evaluated = time.perf_counter()
        trial.set_user_attr(RESULT, result)
        self.study.tell(trial, result["reward"])
        told = time.perf_counter()
        return Timed(
            ask=1e3 * (asked - begun),
            tell=1e3 * (told - evaluated),
            cpu=1e3 * (time.process_time() - computed),
        )

    def _asked(self) -> optuna.Trial:
        return ask(self.study, distributions(self.problem.space))

    def _suggested(self) -> optuna.Trial:
        trial = self.study.ask()
        for name, values in self.problem.space.choices.items():
            trial.suggest_categorical(name, values)
        return trial


def make_problem() -> Problem:
    """The default space; its blocks take as long as random numbers say."""
    space = mobilenet_v3_space()
    table = synthetic_table(space)
    return Problem.of(space, table, reward=REWARDS["soft"], targets_ms=(TARGET_MS,))


def result_of(problem: Problem, trial: optuna.Trial, noise: float) -> dict[str, Any]:
    """What a training could have found: larger networks are better, and seeds differ."""
    row = problem.row(trial.params)
    figures = plain_figures(problem.figures(row))
    accuracy = 0.9 - 0.1 * float(np.exp(-figures["madds"] / 2e8)) + 0.01 * noise
    reward = float(problem.objective(accuracy, figures["latency_ms"])[0])
    return {**figures, "accuracy": accuracy, "reward": reward, "network": 64 * "0"}


def measure(
    storages: Storages,
    samplers: Sequence[str],
    levels: Sequence[int],
    rounds: int,
    update: Update,
) -> Iterator[Figures]:
    """Both ways in turns in each round, on one study, so that all that drifts meets both alike."""
    name, problem, rng = uuid.uuid4().hex, make_problem(), random.Random(0)  # noqa: S311
    study = optuna.create_study(storage=storages.ours, study_name=name, direction="maximize")
    ours = Search(study=study, problem=problem, plain=False)
    study = optuna.load_study(storage=storages.optunas, study_name=name)
    plain = Search(study=study, problem=problem, plain=True)
    done, total = 0, _trials_in_all(samplers, levels, rounds)

    def run(way: Search, sampler: BaseSampler) -> Timed:
        nonlocal done
        timed = way.run_trial(sampler, rng.random())
        done += 1
        update(done, total)
        return timed

    filler = RandomSampler(seed=0)
    for level in sorted(levels):
        while done < level:
            run(ours, filler)
        for sampler in samplers:
            recipe = sampler_recipe(sampler)
            ways = [(way, recipe.make(problem, level)) for way in (ours, plain)]
            timed = [[run(way, its) for way, its in ways] for _ in range(rounds + 1)]
            # In the first round each reads what it does not know of the history.
            yield figures_of(storages.name, sampler, level, timed[1:])


def _trials_in_all(samplers: Sequence[str], levels: Sequence[int], rounds: int) -> int:
    trials = 0
    for level in sorted(levels):
        trials = max(trials, level) + 2 * (rounds + 1) * len(samplers)
    return trials


def figures_of(storage: str, sampler: str, level: int, timed: Sequence[Sequence[Timed]]) -> Figures:
    """From the rounds: in each a trial in our way, and one in Optuna's."""
    return Figures(
        storage=storage,
        sampler=sampler,
        trials=level,
        rounds=len(timed),
        ask_ms=statistics.median(ours.ask for ours, _ in timed),
        tell_ms=statistics.median(ours.tell for ours, _ in timed),
        trial_ms=statistics.median(ours.trial for ours, _ in timed),
        cpu_ms=statistics.median(ours.cpu for ours, _ in timed),
        optuna_ms=statistics.median(plain.trial for _, plain in timed),
        speedup=statistics.median(plain.trial / ours.trial for ours, plain in timed),
    )


@contextmanager
def opened(postgres: str | None) -> Iterator[list[Callable[[], Storages]]]:
    """What there is to measure: a file, and with a database that and the proxy before it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if postgres is not None:
            open_storage(postgres, folder).close()  # an error is said at once

        def in_file() -> Storages:
            ours = open_storage(None, folder / "study.db")
            stack.callback(ours.close)
            plain = get_storage(f"sqlite:///{folder}/study.db")
            return Storages(name="sqlite", ours=ours, optunas=plain)

        def in_database(url: str) -> Storages:
            ours = open_storage(url, folder)
            stack.callback(ours.close)
            plain = get_storage(url.replace("postgresql:", "postgresql+psycopg:"))
            return Storages(name="postgresql", ours=ours, optunas=plain)

        def behind_proxy(url: str) -> Storages:
            port = stack.enter_context(_proxy(url))
            ours = open_storage(f"grpc://127.0.0.1:{port}", folder)
            stack.callback(ours.close)
            plain = GrpcStorageProxy(host="127.0.0.1", port=port)
            return Storages(name="grpc+postgresql", ours=ours, optunas=plain)

        yield [in_file] if postgres is None else [
            in_file, partial(in_database, postgres), partial(behind_proxy, postgres)
        ]  # fmt: skip


@contextmanager
def _proxy(url: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "nas.storage_proxy", "--storage", url]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it serves
        try:
            yield port
        finally:
            process.terminate()


def print_figures(figures: Figures, terminal: Terminal) -> None:
    terminal.line(
        f"{figures.storage:<16} {figures.sampler:<12} {figures.trials:>6} "
        f"{figures.ask_ms:>7.1f} + {figures.tell_ms:>5.1f} = {figures.trial_ms:>6.1f} ms   "
        f"computing {figures.cpu_ms:>6.1f} ms   "
        f"Optuna's way {figures.optuna_ms:>7.1f} ms   ratio {figures.speedup:>5.1f}"
    )


def print_verdict(found: Sequence[Figures], terminal: Terminal) -> None:
    """Whether the aims are met, wherever the history is longest."""
    most = max(figures.trials for figures in found)
    for figures in found:
        aim_ms = AIMS_MS.get(figures.sampler)
        if aim_ms is not None and figures.trials == most:
            verdict = "met" if figures.trial_ms <= aim_ms else "MISSED"
            terminal.line(
                f"aim: {aim_ms:.0f} ms a trial with {figures.sampler} after {most} trials in "
                f"{figures.storage}: {verdict}"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    parser = make_parser("benchmarks.search_overhead", __doc__ or "")
    add = parser.add_argument
    add("--postgres", metavar="URL", help="a database to measure as well, and the proxy before it")
    add("--sampler", action="append", choices=SAMPLERS, help="(all of them)")
    add(
        "--trials", type=int, nargs="+", default=[0, 100, 1000], help="finished before (0 100 1000)"
    )
    add("--rounds", type=int, default=20, help="trials timed of each (%(default)s)")
    add("--record", action="store_true", help="append the figures to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.search_overhead", partial(_run, options, Terminal()))


def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    if options.rounds < 1:
        raise ValueError(f"--rounds must be 1 or more, but got {options.rounds}")
    if min(options.trials) < 0:
        raise ValueError(f"--trials must be 0 or more, but got {min(options.trials)}")
    warnings.simplefilter("ignore", ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: list[Figures] = []
    try:
        with opened(options.postgres) as places:
            for open_place in places:
                storages = open_place()
                samplers = options.sampler or SAMPLERS
                with terminal.progress(f"trials in {storages.name}") as update:
                    rows = measure(storages, samplers, options.trials, options.rounds, update)
                    for figures in rows:
                        found.append(figures)
                        print_figures(figures, terminal)
    except StorageError as error:
        raise ValueError(str(error)) from None
    print_verdict(found, terminal)
    if options.record:
        for figures in found:
            columns = environment_columns(PACKAGES, threads=1)
            values = {
                name: f"{value:.4g}" if isinstance(value, float) else str(value)
                for name, value in asdict(figures).items()
            }
            path = append_row("search_overhead", columns | values)
        terminal.line(f"recorded in {path}")


if __name__ == "__main__":
    sys.exit(main())
