"""Searches of the small space whose accuracies follow from kernels; trainings of its networks."""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from latency.plan import MeasureSettings
from latency.table import LatencyTable
from nas.data import ImageData, MemorySplit, Preprocessing, Split
from nas.drivers import Driver
from nas.evaluators import Evaluation, Monitor
from nas.executors import Executor, ThreadExecutor
from nas.loop import SearchLoop
from nas.problem import Problem
from nas.reward import PowerReward
from nas.study import Candidate, open_study
from nas.train_setup import TrainRun
from nas.training import TrainSettings
from nas.training.full import FullTraining, Keep
from nas.training.meter import DivergenceError
from search_spaces import Architecture
from search_spaces.blocks import InvertedResidual
from search_spaces.spaces import Choices, SearchSpace


class KernelEvaluator:
    """0.5, and 0.1 more a kernel of 5. Fails on the networks whose turns are in ``fails``."""

    def __init__(self, fails: Container[int] = (), epochs: int = 1) -> None:
        self.seen: list[Architecture] = []
        self._fails = fails
        self._epochs = epochs

    def evaluate(
        self, architecture: Architecture, choices: Choices, monitor: Monitor
    ) -> Evaluation:
        self.seen.append(architecture)
        if len(self.seen) - 1 in self._fails:
            raise DivergenceError("the loss is nan at step 3 of 9")
        kernels = [b.kernel for b in architecture.blocks if isinstance(b, InvertedResidual)]
        accuracy = 0.5 + 0.1 * kernels.count(5)
        for epoch in range(1, self._epochs):
            monitor.accuracy(epoch, accuracy * epoch / self._epochs)
        monitor.step(1, 1)
        return Evaluation(accuracy=accuracy)


@dataclass
class Recorder:
    """Keeps what the loop says."""

    latencies: dict[int, float] = field(default_factory=dict)
    steps: list[tuple[int, int, int]] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    retries: dict[int, str] = field(default_factory=dict)

    def started(self, number: int, latency_ms: float) -> None:
        self.latencies[number] = latency_ms

    def step(self, number: int, done: int, total: int) -> None:
        self.steps.append((number, done, total))

    def finished(self, candidate: Candidate) -> None:
        self.candidates.append(candidate)

    def stopped(self, number: int, epoch: int) -> None:
        self.epochs[number] = epoch

    def retried(self, number: int, reason: str) -> None:
        self.retries[number] = reason

    def failed(self, number: int, reason: str) -> None:
        self.failures[number] = reason


@dataclass
class SmallSearch:
    """A search, in parts that a test looks at."""

    study: optuna.Study
    problem: Problem
    loop: SearchLoop
    evaluator: KernelEvaluator
    recorder: Recorder
    executor: Executor

    def run(self, trials: int) -> None:
        try:
            self.loop.run(trials)
        finally:
            self.executor.close()


@pytest.fixture
def make_search(small_space: SearchSpace, small_table: LatencyTable) -> Callable[..., SmallSearch]:
    """``make_search(storage, driver="a", sampler=…, workers=2, **attributes of the problem)``."""

    def make(
        storage: optuna.storages.BaseStorage | None = None,
        *,
        driver: str = "driver",
        patience_s: float = 120.0,
        sampler: optuna.samplers.BaseSampler | None = None,
        evaluator: KernelEvaluator | None = None,
        workers: int = 1,
        **attributes: Any,
    ) -> SmallSearch:
        given = {"reward": PowerReward(alpha=0, beta=-1), "targets_ms": (6.0,), **attributes}
        prunes = given.pop("prunes", False)
        problem = Problem.of(small_space, small_table, **given)
        study = open_study(storage or optuna.storages.InMemoryStorage(), "run")
        study.sampler = sampler or optuna.samplers.RandomSampler(seed=0)
        recorder = Recorder()
        evaluator = evaluator or KernelEvaluator()
        executor = ThreadExecutor(workers)
        loop = SearchLoop(
            study=study,
            driver=Driver(study, driver, patience_s=patience_s),
            problem=problem,
            make_evaluator=lambda: evaluator,
            executor=executor,
            observer=recorder,
            seed=0,
            prunes=prunes,
        )
        return SmallSearch(study, problem, loop, evaluator, recorder, executor)

    return make


@pytest.fixture
def kernel_evaluator() -> type[KernelEvaluator]:
    return KernelEvaluator


@pytest.fixture
def make_train_run(
    small_space: SearchSpace, make_device: Callable[..., Any], tmp_path: Path
) -> Callable[..., TrainRun]:
    """``make_train_run(target_ms=2.0, **attributes)``: of the small space's base network.

    The device takes 2 ms for a whole network, undisturbed, and 2.04 ms in the median.
    """

    def make(**attributes: Any) -> TrainRun:
        settings = TrainSettings(epochs=3, learning_rate=0.1)
        given: dict[str, Any] = {
            "name": "trained",
            "architecture": small_space.build(small_space.base_choices, name="small"),
            "weights": None,
            "data": _ten_classes(),
            "training": FullTraining(settings=settings, keep=Keep.BEST, validates=True, seed=3),
            "devices": 1,
            "device": make_device(lambda entry: 2.0),
            "timed": True,
            "target_ms": None,
            "measure": MeasureSettings(threads=2),
            "folder": tmp_path / "runs" / "trained",
            "config": {"name": "trained"},
            "command": "python -m nas.train arch=small.yaml",
        }
        return TrainRun(**(given | attributes))

    return make


def _ten_classes() -> ImageData:
    def split(number: int) -> Split:
        labels = torch.arange(number) % 10
        return MemorySplit(images=torch.rand(number, 3, 16, 16), labels=labels)

    return ImageData(
        name="digits",
        train=split(40),
        validation=split(20),
        test=split(10),
        class_names=tuple("0123456789"),
        preprocessing=Preprocessing(mean=(0.25,) * 3, std=(0.5,) * 3),
        notes=("1 of 71 images cannot be read and is skipped: <a>.png",),
    )
