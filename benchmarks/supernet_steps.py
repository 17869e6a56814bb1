"""How long a step of a supernet takes, beside steps of its networks trained alone."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from latency.plan import Progress
from nas.data import Split
from nas.supernet.training import SupernetTrainer
from nas.training import TrainSettings
from nas.training.optimizers import build_optimizer
from search_spaces import Architecture, build_model
from search_spaces.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """Of steps of the supernet; a network's own step is forward, backward, optimiser.

    Attributes:
        steps: how many.
        networks: trained in each of them.
        step_ms: of the supernet, median.
        alone_ms: of one of the step's networks by itself, mean over them, median over steps.
        ratio: a step of the supernet ÷ the sum of its networks' own, median.
        low, high: the quartiles of that.
    """

    steps: int
    networks: int
    step_ms: float
    alone_ms: float
    ratio: float
    low: float
    high: float


def time_steps(
    trainer: SupernetTrainer,
    space: SearchSpace,
    data: Split,
    train: TrainSettings,
    resolution: int,
    steps: int,
    on_progress: Progress,
) -> StepTimes:
    """Both in turns, step by step, so that drift of the machine meets both alike.

    The supernet trains on as it does in earnest, and meets each network for the first time; a
    network alone has done a step before, in which its optimiser made its buffers.
    """
    chosen = torch.arange(min(train.batch_size, len(data)))
    together, alone = [], []
    trainer.train_on(chosen)
    for number in range(1, steps + 1):
        trainer.step = number
        networks = [space.build(choices) for choices in trainer.networks(number)]
        own_steps = [_own_step(network, data, train, resolution, chosen) for network in networks]
        # First one way, then the other, so that neither always finds the caches warm.
        order = [trainer.train_on, *own_steps] if number % 2 else [*own_steps, trainer.train_on]
        seconds = {step: _seconds(step, chosen) for step in order}
        together.append(seconds[trainer.train_on])
        alone.append([seconds[step] for step in own_steps])
        on_progress(number, steps)
    ratios = [one / sum(each) for one, each in zip(together, alone, strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    return StepTimes(
        steps=steps,
        networks=len(alone[0]),
        step_ms=1e3 * statistics.median(together),
        alone_ms=1e3 * statistics.median(map(statistics.mean, alone)),
        ratio=ratio,
        low=low,
        high=high,
    )


def _own_step(
    network: Architecture, data: Split, train: TrainSettings, resolution: int, chosen: Tensor
) -> Callable[[Tensor], None]:
    """A step of ``nas.training.loop.train``, done once."""
    model = build_model(network)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    optimizer = build_optimizer(model.parameters(), train)

    def step(chosen: Tensor) -> None:
        images, labels = data.images_at(chosen, resolution), data.labels[chosen]
        loss = functional.cross_entropy(
            model(images), labels, label_smoothing=train.label_smoothing
        )
        assert torch.isfinite(loss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    step(chosen)
    return step


def _seconds(step: Callable[[Tensor], None], chosen: Tensor) -> float:
    begun = time.perf_counter()
    step(chosen)
    return time.perf_counter() - begun
