"""Random networks of a space, trained alone and scored by a supernet."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.rank_agreement import Accuracies, Floats
from benchmarks.supernet_steps import StepTimes, time_steps
from latency.console import Terminal
from latency.plan import Progress, no_progress
from nas.data import SearchData
from nas.evaluators import ProxyEvaluator, SupernetEvaluator
from nas.supernet import SupernetSettings, WeightStore
from nas.supernet.layers import reachable_layers
from nas.supernet.training import SupernetTrainer
from nas.training import TrainSettings
from nas.training.loop import use_threads
from search_spaces import count_costs
from search_spaces.spaces import Choice, SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What is trained, on what, and how."""

    space: SearchSpace
    data: SearchData
    networks: int
    seeds: int
    resolution: int
    alone: TrainSettings
    supernet: SupernetSettings
    seed: int

    def choices(self) -> list[dict[str, Choice]]:
        """Of each random network."""
        rows = self.space.sample_indices(self.networks, np.random.default_rng(self.seed))
        return [self.space.choices_at(row) for row in rows]


class Silent:
    """A monitor that wants nothing."""

    wants_accuracy = False

    def __init__(self, on_step: Progress = no_progress) -> None:
        self.step = on_step

    def accuracy(self, epoch: int, accuracy: float) -> None: ...


def measure(experiment: Experiment, folder: Path, terminal: Terminal) -> Accuracies:
    """Train and score all networks; what ``folder`` holds of an earlier run is taken over."""
    choices = experiment.choices()
    networks = [experiment.space.build(each) for each in choices]
    evaluator = SupernetEvaluator(
        data=experiment.data,
        seed=experiment.seed,
        space=experiment.space,
        folder=folder,
        resolution=experiment.resolution,
        settings=experiment.supernet,
    )
    with terminal.progress("training the supernet") as update:
        evaluator.prepare(Silent(update))
    scores = []
    with terminal.progress("scoring networks with the supernet") as update:
        for network, each in zip(networks, choices, strict=True):
            scores.append(evaluator.evaluate(network, each, Silent()).accuracy)
            update(len(scores), len(networks))
    return Accuracies(
        alone=_train_alone(experiment, folder / "alone.csv", terminal),
        supernet=np.array(scores),
        madds=np.array([count_costs(network).madds for network in networks], dtype=np.float64),
    )


def _train_alone(experiment: Experiment, path: Path, terminal: Terminal) -> Floats:
    """(seeds, networks); each is kept as soon as it is known."""
    known = _read(path)
    every = list(product(range(experiment.networks), range(experiment.seeds)))
    choices = experiment.choices()
    with terminal.progress("training networks alone") as update, path.open("a") as file:
        for done, (number, seed) in enumerate(every):
            update(done, len(every))
            if (number, seed) in known:
                continue
            evaluator = ProxyEvaluator(
                data=experiment.data,
                seed=experiment.seed + 1 + seed,
                resolution=experiment.resolution,
                settings=experiment.alone,
            )
            network = experiment.space.build(choices[number])
            accuracy = evaluator.evaluate(network, choices[number], Silent()).accuracy
            known[number, seed] = accuracy
            file.write(f"{number},{seed},{accuracy!r}\n")
            file.flush()
    return np.array(
        [
            [known[number, seed] for number in range(experiment.networks)]
            for seed in range(experiment.seeds)
        ]
    )


def _read(path: Path) -> dict[tuple[int, int], float]:
    """What is known; a torn last line is cut off."""
    if not path.exists():
        return {}
    whole, _, _ = path.read_text().rpartition("\n")
    path.write_text(whole + "\n" if whole else "")
    rows = (line.split(",") for line in whole.splitlines())
    return {(int(number), int(seed)): float(accuracy) for number, seed, accuracy in rows}


def time_supernet(experiment: Experiment, steps: int, terminal: Terminal) -> StepTimes:
    """Of a fresh supernet."""
    train = experiment.supernet.train
    use_threads(train.threads)
    weights = WeightStore.initial(reachable_layers(experiment.space), experiment.seed)
    trainer = SupernetTrainer(
        weights,
        experiment.space,
        experiment.data.train,
        experiment.supernet,
        resolution=experiment.resolution,
        seed=experiment.seed,
    )
    with terminal.progress("timing steps") as update:
        return time_steps(
            trainer,
            experiment.space,
            experiment.data.train,
            train,
            experiment.resolution,
            steps,
            update,
        )
