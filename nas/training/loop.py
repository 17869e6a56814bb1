"""Training: SGD with momentum, warm-up and a cosine schedule."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn
from torch.nn import functional
from torch.optim.optimizer import ParamsT

from nas.checks import check_fields
from nas.data import Shuffle, Split

StepCallback = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

EpochCallback = Callable[[int], None]
"""Called with the number of epochs done, after each of them but the last."""


class DivergenceError(RuntimeError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        warmup: the share of steps in which the learning rate rises.
        threads: torch's CPU threads; ``None`` for all cores. At small image sizes a second thread
            brings little, and on a busy machine each waits for the other.
    """

    epochs: int
    batch_size: int = 32
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    warmup: float = 0.2
    threads: int | None = 1

    def __post_init__(self) -> None:
        check_fields(self, 1, 100_000, "epochs", whole=True)
        check_fields(self, 2, 65_536, "batch_size", whole=True)
        if self.threads is not None:
            check_fields(self, 1, 1024, "threads", whole=True)
        check_fields(self, 1e-12, 1e3, "learning_rate")
        check_fields(self, 0, 0.9999, "momentum")
        check_fields(self, 0, 1, "weight_decay", "warmup")
        check_fields(self, 0, 0.99, "label_smoothing")


def rate_factor(step: int, total: int, warmup: float) -> float:
    """The learning rate's factor at ``step`` of ``total``: a linear rise, then half a cosine."""
    rise = warmup * total
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))


def use_threads(threads: int | None) -> None:
    """Let torch use so many threads; ``None`` is one a core."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def build_optimizer(parameters: ParamsT, settings: TrainSettings) -> torch.optim.SGD:
    """SGD as the settings say. Fused: one pass over each weight instead of five."""
    return torch.optim.SGD(
        parameters,
        lr=settings.learning_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def train(
    model: nn.Module,
    data: Split,
    settings: TrainSettings,
    *,
    resolution: int,
    seed: int,
    on_step: StepCallback,
    on_epoch: EpochCallback | None = None,
    steps: int | None = None,
) -> None:
    """Train ``model`` in place on images of ``resolution`` pixels; deterministic for a seed.

    ``on_epoch`` may evaluate the model; training goes on as if it had not. ``steps`` are batches,
    instead of the epochs of the settings.

    Raises:
        DivergenceError: the loss became infinite or NaN.
    """
    use_threads(settings.threads)
    batch_size = min(settings.batch_size, len(data))
    total = steps or len(data) // batch_size * settings.epochs
    optimizer = build_optimizer(model.parameters(), settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_factor(step, total, settings.warmup)
    )
    # Depthwise layers train several times faster on a CPU with channels last.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    model.train()
    done = epoch = 0
    while done < total:
        if epoch and on_epoch is not None:
            on_epoch(epoch)
            model.train()
        batches = data.batches(batch_size, resolution, Shuffle(seed=seed, epoch=epoch))
        for images, labels in islice(batches, total - done):
            loss = functional.cross_entropy(
                model(images), labels, label_smoothing=settings.label_smoothing
            )
            if not torch.isfinite(loss):
                raise DivergenceError(
                    f"the loss is {loss.item()} at step {done} of {total}; "
                    f"lower the learning rate (it is {settings.learning_rate})"
                )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
            on_step(done, total)
        epoch += 1


@torch.inference_mode()
def evaluate(
    model: nn.Module, data: Split, *, resolution: int, batch_size: int, on_step: StepCallback
) -> float:
    """The share of images in ``data`` whose class ``model`` gets right."""
    model.eval()
    correct = done = 0
    for images, labels in data.batches(batch_size, resolution):
        correct += int((model(images).argmax(1) == labels).sum())
        done += len(labels)
        on_step(done, len(data))
    return correct / len(data)
