"""``python -m benchmarks.search_efficiency``: how many trainings each sampler needs.

All samplers of ``conf/sampler`` search the same problems, whose every answer is known, from many
seeds. *Regret* is how far the best reward found so far lies below the best there is, in points of
accuracy (a reward of 0.01).
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import numpy as np
import optuna
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray

from benchmarks.environment import append_row, environment_columns
from benchmarks.regret import AFTER, OURS, Curves, Key, comparisons, mean_regret, trials_to_reach
from benchmarks.search_problems import (
    QUANTILES,
    REWARDS,
    KnownNetworks,
    given_problem,
    own_problem,
)
from benchmarks.tabular_spaces import SPACES
from latency.console import Terminal
from latency.options import make_parser, run_command
from nas.configuration import CONF
from nas.setup import SamplerRecipe
from nas.study import RESULT, distributions, open_study

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
AIMS = {"soft": 0.5, "hard": 0.25}
"""Of the best other's trials, what ours may need."""

PACKAGES = ("chronas", "numpy", "optuna", "scipy", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What one search is: a problem, a sampler, a reward, a target and a seed."""

    problem: str
    sampler: str
    reward: str
    target: int
    seed: int


def search(known: KnownNetworks, setting: Setting, trials: int) -> NDArray[np.float64]:
    """(trials,): the regret after each trial. The base network is the first, as in a search."""
    target_ms = known.targets_ms()[setting.target]
    problem = known.problem(setting.reward, target_ms)
    recipe = sampler_recipe(setting.sampler)
    study = open_study(optuna.storages.InMemoryStorage(), "search", pareto=recipe.pareto)
    study.sampler = recipe.make(problem, setting.seed)
    accuracies = {
        row.tobytes(): accuracy
        for row, accuracy in zip(
            np.ascontiguousarray(known.networks), known.accuracies, strict=True
        )
    }
    choices = distributions(known.space)
    study.enqueue_trial(known.space.base_choices)
    rewards: list[float] = []
    while len(rewards) < trials:
        trial = study.ask(dict(choices))
        row = problem.row(trial.params)
        accuracy = accuracies.get(np.ascontiguousarray(row)[0].tobytes())
        if accuracy is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        latency_ms = float(problem.latency_ms(row)[0])
        reward = float(problem.objective(accuracy, latency_ms)[0])
        trial.set_user_attr(
            RESULT, {"accuracy": accuracy, "latency_ms": latency_ms, "reward": reward}
        )
        study.tell(trial, [accuracy, latency_ms] if recipe.pareto else reward)
        rewards.append(reward)
    best = problem.objective(known.accuracies, known.latencies_ms).max()
    return np.asarray(best - np.maximum.accumulate(rewards))


@cache
def sampler_recipe(name: str) -> SamplerRecipe:
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("search", [f"sampler={name}", "target_latency=1ms", "name=x"])
    return SamplerRecipe.of(config.sampler)


def run_searches(
    problems: Sequence[KnownNetworks],
    samplers: Sequence[str],
    *,
    seeds: int,
    trials: int,
    workers: int,
    terminal: Terminal,
) -> dict[Key, Curves]:
    """Every sampler on every problem, reward and target, from every seed."""
    by_name = {problem.name: problem for problem in problems}
    settings = [
        Setting(problem=problem, sampler=sampler, reward=reward, target=target, seed=seed)
        for problem, sampler, (reward, target), seed in product(
            by_name, samplers, _rewards_and_targets(), range(seeds)
        )
    ]
    found: dict[Key, list[NDArray[np.float64]]] = {}
    with terminal.progress("searching") as update:
        for done, (setting, regret) in enumerate(_all(by_name, settings, trials, workers), start=1):
            key = (setting.problem, setting.reward, setting.target, setting.sampler)
            found.setdefault(key, []).append(regret)
            update(done, len(settings))
    return {key: np.stack(curves) for key, curves in found.items()}


def _rewards_and_targets() -> Iterator[tuple[str, int]]:
    """Where α = β, a target is a factor of all rewards, and one target stands for all."""
    for name, reward in REWARDS.items():
        targets = (len(QUANTILES) // 2,) if reward.alpha == reward.beta else range(len(QUANTILES))
        for target in targets:
            yield name, target


def _all(
    problems: dict[str, KnownNetworks], settings: Sequence[Setting], trials: int, workers: int
) -> Iterable[tuple[Setting, NDArray[np.float64]]]:
    one = partial(_one, problems, trials)
    if workers == 1:
        yield from map(one, settings)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(one, settings, chunksize=4)


def _one(
    problems: dict[str, KnownNetworks], trials: int, setting: Setting
) -> tuple[Setting, NDArray[np.float64]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return setting, search(problems[setting.problem], setting, trials)


def print_found(found: dict[Key, Curves], terminal: Terminal) -> None:
    """A line a sampler and setting, then ours against the best of the others."""
    for key in sorted(found):
        problem, reward, target, sampler = key
        figures = [mean_regret(found[key], n) for n in AFTER if n <= found[key].shape[1]]
        shown = "  ".join(f"{f.mean:6.3f} ({f.low:.3f}–{f.high:.3f})" for f in figures)
        terminal.line(f"{problem:10} {reward} target {target}  {sampler:13} {shown}")
    worse: list[tuple[tuple[str, str, int], int]] = []
    for place, compared in comparisons(found).items():
        for one in compared:
            needed = "never" if one.needed is None else f"after {one.needed}"
            terminal.line(
                f"{place}: {one.rival} has {one.theirs:.3f} after {one.trials}; {OURS} "
                f"has {one.ours:.3f}, and reaches theirs {needed}"
            )
            if one.is_worse:
                worse.append((place, one.trials))
    for kind, aim in AIMS.items():
        for trials in AFTER:
            if trials <= min(curves.shape[1] for curves in found.values()):
                share, ours = trials_to_reach(found, kind, trials)
                terminal.line(
                    f"{kind}: the best other's mean regret after {trials} trials is reached "
                    f"after {ours} ({share:.0%}; aim {aim:.0%}: "
                    f"{'met' if share <= aim else 'missed'})"
                )
    terminal.line(f"significantly worse in: {worse or 'none'}")


def record_found(found: dict[Key, Curves], seeds: int) -> Path:
    """A row for every sampler and setting."""
    path = Path()
    for key in sorted(found):
        row = environment_columns(PACKAGES, threads=1)
        row |= dict(zip(("problem", "reward", "target", "sampler"), map(str, key), strict=True))
        row["seeds"] = str(seeds)
        for trials in AFTER:
            figure = mean_regret(found[key], trials)
            row[f"regret_{trials}"] = f"{figure.mean:.4f}"
            row[f"low_{trials}"], row[f"high_{trials}"] = f"{figure.low:.4f}", f"{figure.high:.4f}"
        path = append_row("search_efficiency", row)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Search and print; returns the exit code, 2 with one line on stderr for bad input."""
    parser = make_parser("benchmarks.search_efficiency", __doc__ or "")
    add = parser.add_argument
    add("--problem", choices=SPACES, action="append", help="of our own (all)")
    add("--sampler", choices=SAMPLERS, action="append", help="(all)")
    add("--space", metavar="MODULE.FUNCTION", help="of a problem from outside")
    add("--accuracies", type=Path, metavar="FILE", help="of its networks: .csv or .json")
    add("--column", default="accuracy", help="that they stand in (%(default)s)")
    add("--percent", action="store_true", help="they are in 0..100")
    add("--table", type=Path, metavar="FILE", help="latencies (a million MAdds take 1 ms)")
    add("--seeds", type=int, default=20, help="searches of each kind (%(default)s)")
    add("--trials", type=int, default=100, help="networks a search (%(default)s)")
    add("--workers", type=int, default=2, help="processes (%(default)s)")
    add("--record", action="store_true", help="append rows to the results")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.search_efficiency", partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    terminal = Terminal()
    if (options.space is None) != (options.accuracies is None):
        raise ValueError("--space and --accuracies belong together")
    if options.record and options.trials < max(AFTER):
        raise ValueError(f"--record needs --trials {max(AFTER)} or more")
    with terminal.progress("looking up what is known"):
        if options.space is None:
            problems = [own_problem(name) for name in options.problem or SPACES]
        else:
            problems = [
                given_problem(
                    options.space,
                    options.accuracies,
                    options.table,
                    column=options.column,
                    percent=options.percent,
                )
            ]
    found = run_searches(
        problems,
        options.sampler or SAMPLERS,
        seeds=options.seeds,
        trials=options.trials,
        workers=options.workers,
        terminal=terminal,
    )
    print_found(found, terminal)
    if options.record:
        terminal.line(f"recorded in {record_found(found, options.seeds)}")


if __name__ == "__main__":
    sys.exit(main())
