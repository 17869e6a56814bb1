"""Which evaluator finds the better network in the same wall time: proxy training or a supernet.

    python -m benchmarks.evaluator_comparison [--table FILE] [--seeds N] [--record]

Each seed is a search with proxy training, as ``make search`` does it, then one with a supernet that
ends when it has taken as long, its training included. With the default settings that is about half
of its time: with 16 networks' time, more epochs leave none for scoring. The winners of both, the
networks of highest reward, are trained alike, each from several seeds, and tested on images that no
search has seen.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import torch
from hydra import compose, initialize_config_dir

from benchmarks.environment import append_row, environment_columns
from benchmarks.search_efficiency import sampler_recipe
from benchmarks.search_problems import madds_table
from benchmarks.supernet_experiment import Silent
from latency.console import Terminal
from latency.options import make_parser, run_command
from latency.plan import no_progress
from latency.table import LatencyTable
from nas.configuration import CONF
from nas.data import ImageData
from nas.evaluators import Evaluator, NeedsPreparation
from nas.problem import Problem
from nas.setup import build, build_evaluator, build_space
from nas.study import RESULT, distributions, open_study
from nas.training import TrainSettings
from nas.training.loop import evaluate, train
from search_spaces import build_model
from search_spaces.spaces import Choices, SearchSpace

EVALUATORS = ("proxy", "supernet")
PACKAGES = ("numpy", "optuna", "torch")
TARGET_QUANTILE = 0.5
SAMPLED = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all searches have alike; the seed is a search's own.

    Attributes:
        resolution: of proxy training, of the supernet, and of the winners' trainings.
    """

    space: SearchSpace
    data: ImageData
    problem: Problem
    trials: int
    resolution: int
    supernet_epochs: int
    final: TrainSettings
    trainings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A search and its winner.

    Attributes:
        preparation_s, seconds: until the first trial, and in all.
        searched_accuracy: what the evaluator said of the winner.
        accuracy, reward: on the test part, mean over the trainings; points of accuracy are 0.01.
    """

    trials: int
    preparation_s: float
    seconds: float
    searched_accuracy: float
    latency_ms: float
    accuracy: float
    reward: float


def make_evaluator(name: str, settings: Settings, seed: int, folder: Path) -> Evaluator:
    """As ``conf/evaluator`` has it."""
    overrides = [f"evaluator={name}", "target_latency=1ms", "name=x"]
    overrides.append(f"proxy_resolution={settings.resolution}")
    if name == "supernet":
        overrides.append(f"evaluator.settings.train.epochs={settings.supernet_epochs}")
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        node = compose("search", overrides).evaluator
    return build_evaluator(node, settings.data, settings.space, folder, seed)


def search(
    name: str,
    settings: Settings,
    seed: int,
    goes_on: Callable[[int, float], bool],
    terminal: Terminal,
) -> Found:
    """Search with the default sampler while ``goes_on(trials, seconds)``, and train the winner."""
    problem, begun = settings.problem, time.perf_counter()
    study = open_study(optuna.storages.InMemoryStorage(), "search")
    study.sampler = sampler_recipe("lookup_aware").make(problem, seed)
    study.enqueue_trial(settings.space.base_choices)
    trials: list[tuple[float, float, Choices]] = []
    with tempfile.TemporaryDirectory() as folder:
        evaluator = make_evaluator(name, settings, seed, Path(folder))
        if isinstance(evaluator, NeedsPreparation):
            with terminal.progress("training the supernet") as update:
                evaluator.prepare(Silent(update))
        prepared = time.perf_counter()
        with terminal.progress(f"searching with {name}") as update:
            while goes_on(len(trials), time.perf_counter() - begun):
                trial = study.ask(dict(distributions(settings.space)))
                network = settings.space.build(trial.params)
                accuracy = evaluator.evaluate(network, trial.params, Silent()).accuracy
                latency_ms = float(problem.latency_ms(problem.row(trial.params))[0])
                reward = float(problem.objective(accuracy, latency_ms)[0])
                figures = {"accuracy": accuracy, "latency_ms": latency_ms, "reward": reward}
                trial.set_user_attr(RESULT, figures)
                study.tell(trial, reward)
                trials.append((reward, accuracy, trial.params))
                update(len(trials), max(len(trials), settings.trials))
    ended = time.perf_counter()
    _, searched_accuracy, choices = max(trials, key=lambda trial: trial[0])
    latency_ms = float(problem.latency_ms(problem.row(choices))[0])
    accuracy = train_winner(choices, settings, terminal)
    return Found(
        trials=len(trials),
        preparation_s=prepared - begun,
        seconds=ended - begun,
        searched_accuracy=searched_accuracy,
        latency_ms=latency_ms,
        accuracy=accuracy,
        reward=float(problem.objective(accuracy, latency_ms)[0]),
    )


def train_winner(choices: Choices, settings: Settings, terminal: Terminal) -> float:
    """The accuracy on the test part, mean over trainings from seeds of their own."""
    network, accuracies = settings.space.build(choices), []
    with terminal.progress("training the winner") as update:
        for seed in range(settings.trainings):
            torch.manual_seed(1000 + seed)
            model = build_model(network)
            train(
                model,
                settings.data.train,
                settings.final,
                resolution=settings.resolution,
                seed=1000 + seed,
                on_step=no_progress,
            )
            accuracies.append(
                evaluate(
                    model,
                    settings.data.test,
                    resolution=settings.resolution,
                    batch_size=128,
                    on_step=no_progress,
                )
            )
            update(seed + 1, settings.trainings)
    return statistics.mean(accuracies)


def compare(settings: Settings, seed: int, terminal: Terminal) -> dict[str, Found]:
    """Proxy training first: how long it takes is what the supernet has."""
    proxy = search("proxy", settings, seed, lambda trials, _: trials < settings.trials, terminal)
    supernet = search(
        "supernet",
        settings,
        seed,
        lambda trials, seconds: not trials or seconds < proxy.seconds,
        terminal,
    )
    return {"proxy": proxy, "supernet": supernet}


def print_found(seed: int, found: dict[str, Found], terminal: Terminal) -> None:
    for name, each in found.items():
        terminal.line(
            f"seed {seed}  {name:8}  {each.seconds:5.0f} s ({each.preparation_s:.0f} s before the "
            f"first trial), {each.trials:3} trials; winner {each.latency_ms:.2f} ms, "
            f"{each.searched_accuracy:.1%} in the search, {each.accuracy:.2%} trained, "
            f"reward {each.reward:.4f}"
        )


def print_verdict(every: Sequence[dict[str, Found]], terminal: Terminal) -> None:
    """Which is better in the mean, and by how much beside how much seeds differ."""
    gains = [100 * (found["proxy"].reward - found["supernet"].reward) for found in every]
    mean = statistics.mean(gains)
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    better = EVALUATORS[mean < 0]
    wins = sum((gain > 0) == (mean > 0) for gain in gains)
    terminal.line(
        f"better in the same time: {better}, by {abs(mean):.2f} ± {error:.2f} points of reward "
        f"(mean and its standard error), in {wins} of {len(gains)} searches"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, train, print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.evaluator_comparison", __doc__ or "")
    add = parser.add_argument
    add("--table", type=Path, metavar="FILE", help="measured (a million MAdds take a millisecond)")
    add("--target", type=float, metavar="MS", help="(what half of the networks meet)")
    add("--seeds", type=int, default=5, help="searches with each (%(default)s)")
    add("--trials", type=int, default=16, help="of proxy training, as by default (%(default)s)")
    add("--resolution", type=int, default=32, help="of all training, in pixels (%(default)s)")
    add("--supernet-epochs", type=int, default=2, help="(%(default)s)")
    add("--final-epochs", type=int, default=8, help="of the winners (%(default)s)")
    add("--trainings", type=int, default=2, help="of each winner (%(default)s)")
    add("--record", action="store_true", help="append the figures to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.evaluator_comparison", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    for name in ("seeds", "trials", "trainings", "final_epochs"):
        if (value := getattr(options, name)) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be 1 or more, but got {value}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    terminal, settings = Terminal(), _settings(options)
    (target_ms,) = settings.problem.targets_ms
    terminal.line(f"{settings.space.name}, target {target_ms:.2f} ms")
    every = []
    for seed in range(options.seeds):
        found = compare(settings, seed, terminal)
        print_found(seed, found, terminal)
        every.append(found)
        if options.record:
            path = _record(settings, seed, found)
    print_verdict(every, terminal)
    if options.record:
        terminal.line(f"recorded in {path}")


def _settings(options: argparse.Namespace) -> Settings:
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("search", ["target_latency=1ms", "name=x"])
    data: ImageData = build("data", config.data)
    space = build_space(config.space, data, (config.resolution,))
    table = madds_table(space) if options.table is None else LatencyTable.load(options.table)
    reward = build("reward", config.reward)
    problem = Problem.of(space, table, reward=reward, targets_ms=(options.target or 1.0,))
    if options.target is None:
        sample = space.sample_indices(SAMPLED, np.random.default_rng(0))
        target_ms = float(np.quantile(problem.latency_ms(sample), TARGET_QUANTILE))
        problem = Problem.of(space, table, reward=reward, targets_ms=(target_ms,))
    return Settings(
        space=space,
        data=data,
        problem=problem,
        trials=options.trials,
        resolution=options.resolution,
        supernet_epochs=options.supernet_epochs,
        final=TrainSettings(epochs=options.final_epochs, learning_rate=0.05),
        trainings=options.trainings,
    )


def _record(settings: Settings, seed: int, found: dict[str, Found]) -> Path:
    """A row of each search."""
    for name, each in found.items():
        row = environment_columns(PACKAGES, threads=torch.get_num_threads())
        row |= {"space": settings.space.name, "seed": str(seed), "evaluator": name}
        row |= {"target_ms": f"{settings.problem.targets_ms[0]:.4g}"}
        row |= {
            column: str(value) if isinstance(value, int) else f"{value:.4g}"
            for column, value in asdict(each).items()
        }
        path = append_row("evaluator_comparison", row)
    return path


if __name__ == "__main__":
    sys.exit(main())
