"""The comparison at equal latency: which networks, trained for how long, and what came of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.accuracy_curves import Curve
from benchmarks.equal_latency_points import Point, Shaving, measure_networks
from benchmarks.equal_latency_rivals import (
    SCOPES,
    Cell,
    Lengths,
    Method,
    Rivals,
    multiplied,
    prune,
)
from benchmarks.equal_latency_training import Training, read_accuracy, run_tasks, train_seed
from latency.console import Terminal
from latency.keys import network_key
from latency.table import Entry
from nas.executors import Executor
from nas.settings import for_networks
from nas.training import TrainSettings
from netadapt.tuning import Tuning
from search_spaces import Architecture, count_costs
from search_spaces.scaling import WidthRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is compared.

    Attributes:
        network: the seed, for the data's classes, at the image size that is timed.
        tuning: of proposals; its seed is replaced by each of ``seeds``.
        train: how networks are trained, but for proposals.
        generous, library: whether those rivals take part.
    """

    network: Architecture
    rule: WidthRule
    seeds: range
    lengths: Lengths
    tuning: Tuning
    train: TrainSettings
    shaving: Shaving
    generous: bool
    library: bool

    @property
    def folder(self) -> Path:
        return self.shaving.folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trained network; the columns of a row of results.

    Attributes:
        latency_ms, interval: of all networks in turns; half the 95 % interval, relative.
        accuracy: on the validation file, in 0..1.
        steps: all that led to it; ``spent``: and those of proposals that were not taken.
    """

    method: Method
    seed: int
    point: int
    target_ms: float
    latency_ms: float
    interval: float
    accuracy: float
    steps: int
    spent: int
    madds: int
    params: int


def compare(
    experiment: Experiment, seed_ms: float, executor: Executor, terminal: Terminal
) -> list[Outcome]:
    """Train seeds, shave them, find rivals, train all; what the folder holds is taken over."""
    _train_seeds(experiment, executor, terminal)
    multiples = multiplied(experiment.network, experiment.rule)
    rivals = [
        _rivals(experiment, seed, _shave(experiment, seed, seed_ms, executor, terminal), multiples)
        for seed in experiment.seeds
    ]
    with terminal.progress("measuring rivals") as update:
        found = measure_networks(
            experiment.shaving.device,
            experiment.folder / "rivals.jsonl",
            [network for each in rivals for network in each.to_measure()],
            experiment.shaving.measure,
            update,
        )
    latencies_ms = {key: entry.latency_ms for key, entry in found.items()}
    cells = [cell for each in rivals for cell in each.cells(latencies_ms)]
    _train(experiment, cells, executor, terminal)
    with terminal.progress(f"measuring {len(cells)} networks in turns") as update:
        entries = measure_networks(
            experiment.shaving.device,
            experiment.folder / "networks.jsonl",
            [cell.architecture for cell in cells],
            for_networks(experiment.shaving.measure),
            update,
        )
    return [_outcome(cell, entries[network_key(cell.architecture)], experiment) for cell in cells]


def curve_of(outcomes: Sequence[Outcome], method: Method, seed: int) -> Curve:
    """A rival's networks of a seed, and the seed network itself."""
    return Curve.of(
        [
            (each.latency_ms, each.accuracy)
            for each in outcomes
            if each.seed == seed and each.method in (method, Method.FULL)
        ]
    )


def seed_answer(experiment: Experiment, seed: int) -> Path:
    """The file of a seed's accuracy on images kept for proposals; its weights lie beside it."""
    return experiment.folder / f"seed{seed}" / "seed.json"


def _train_seeds(experiment: Experiment, executor: Executor, terminal: Terminal) -> None:
    calls = {
        f"seed {seed}": partial(
            train_seed,
            replace(experiment.tuning, seed=seed),
            experiment.network,
            experiment.train,
            experiment.lengths.seed,
            seed_answer(experiment, seed).absolute(),
        )
        for seed in experiment.seeds
        if not seed_answer(experiment, seed).exists()
    }
    with terminal.progress(f"1 of 3: training {experiment.network.name}") as update:
        run_tasks(executor, calls, dict.fromkeys(calls, 1.0), update)


def _shave(
    experiment: Experiment, seed: int, seed_ms: float, executor: Executor, terminal: Terminal
) -> list[Point]:
    answer = seed_answer(experiment, seed)
    accuracy = read_accuracy(answer)
    terminal.line(
        f"2 of 3: shaving seed {seed} of {experiment.seeds[0]} to {experiment.seeds[-1]}, accuracy "
        f"{accuracy:.1%} on images kept for proposals, {seed_ms:.2f} ms"
    )
    return experiment.shaving.run(
        experiment.network,
        answer.with_suffix(".pt"),
        accuracy,
        seed_ms,
        replace(experiment.tuning, seed=seed),
        executor,
        terminal,
    )


def _rivals(
    experiment: Experiment, seed: int, points: Sequence[Point], multiples: Sequence[Architecture]
) -> Rivals:
    weights = seed_answer(experiment, seed).with_suffix(".pt")
    methods = SCOPES if experiment.library else ()
    return Rivals(
        seed=seed,
        points=points,
        network=experiment.network,
        weights=weights,
        folder=weights.parent,
        lengths=experiment.lengths,
        multiplied=multiples,
        pruned={
            method: [each.architecture for each in prune(experiment.network, weights, method)]
            for method in methods
        },
        generous=experiment.generous,
    )


def _train(
    experiment: Experiment, cells: Sequence[Cell], executor: Executor, terminal: Terminal
) -> None:
    todo = {cell.name: cell for cell in cells if not _answer(experiment, cell).exists()}
    calls = {
        name: Training(
            data=experiment.tuning.data,
            architecture=cell.architecture,
            weights=cell.weights and cell.weights.absolute(),
            settings=experiment.train,
            steps=cell.steps,
            resolution=experiment.tuning.resolution,
            seed=cell.seed,
            answer=_answer(experiment, cell).absolute(),
        ).call()
        for name, cell in todo.items()
    }
    work = {
        name: float(cell.steps * count_costs(cell.architecture).madds)
        for name, cell in todo.items()
    }
    with terminal.progress(f"3 of 3: training {len(calls)} networks") as update:
        run_tasks(executor, calls, work, update)


def _answer(experiment: Experiment, cell: Cell) -> Path:
    """The file of a cell's accuracy; where a rival is measured anew, it may be another network."""
    digest = network_key(cell.architecture).partition("@")[0]
    return experiment.folder / "cells" / f"{cell.name}-{digest}.json"


def _outcome(cell: Cell, entry: Entry, experiment: Experiment) -> Outcome:
    costs = count_costs(cell.architecture)
    return Outcome(
        method=cell.method,
        seed=cell.seed,
        point=cell.point,
        target_ms=cell.target_ms,
        latency_ms=entry.latency_ms,
        interval=entry.interval,
        accuracy=read_accuracy(_answer(experiment, cell)),
        steps=cell.before + cell.steps,
        spent=cell.spent,
        madds=costs.madds,
        params=costs.params,
    )


def row_of(outcome: Outcome) -> dict[str, str]:
    """The columns of a row of results."""
    return {
        name: f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in asdict(outcome).items()
    }
