"""The task of scoring one network, and its talk with the search while it runs elsewhere."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from nas.evaluators import Evaluation, Evaluator, NeedsPreparation, StoppedEarly
from nas.executors import Channel
from search_spaces import Architecture
from search_spaces.spaces import Choices

MakeEvaluator: TypeAlias = Callable[[], Evaluator]
"""Can be pickled and hashed: an evaluator is made where it works, once a process."""

_SECONDS_BETWEEN_STEPS = 0.2


@dataclass(frozen=True, slots=True)
class Steps:
    """A task tells how far it is."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A task asks, with the accuracy so far, whether to go on."""

    epoch: int
    accuracy: float


class EvaluationError(RuntimeError):
    """What scores networks has a fault."""

    @classmethod
    def of(cls, what: str, error: BaseException) -> "EvaluationError":
        """Say ``what`` failed, and of which error."""
        return cls(f"{what}: {type(error).__name__}: {error}")


def evaluate_network(
    make_evaluator: MakeEvaluator,
    architecture: Architecture,
    choices: Choices,
    wants_accuracy: bool,
    channel: Channel,
) -> Evaluation:
    """Score a network; with ``wants_accuracy`` the other end decides after each epoch.

    Raises:
        StoppedEarly: the other end answered that going on is not worth it.
        DivergenceError: the network cannot be trained with the evaluator's settings.
    """
    monitor = ChannelMonitor(channel, wants_accuracy=wants_accuracy)
    return _evaluator(make_evaluator).evaluate(architecture, choices, monitor)


def prepare_evaluator(make_evaluator: MakeEvaluator, channel: Channel) -> None:
    """Let an evaluator do what it has to do before the first network."""
    evaluator = _evaluator(make_evaluator)
    if isinstance(evaluator, NeedsPreparation):
        evaluator.prepare(ChannelMonitor(channel, wants_accuracy=False))


@lru_cache(maxsize=1)
def _evaluator(make_evaluator: MakeEvaluator) -> Evaluator:
    return make_evaluator()


class ChannelMonitor:
    """Passes on to the other end of a channel how an evaluation goes."""

    def __init__(self, channel: Channel, *, wants_accuracy: bool) -> None:
        self._channel = channel
        self._wants_accuracy = wants_accuracy
        self._told = -float("inf")

    @property
    def wants_accuracy(self) -> bool:
        return self._wants_accuracy

    def step(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _SECONDS_BETWEEN_STEPS or done == total:
            self._told = now
            self._channel.tell(Steps(done, total))

    def accuracy(self, epoch: int, accuracy: float) -> None:
        if self._wants_accuracy and self._channel.ask(Accuracy(epoch, accuracy)) is not True:
            raise StoppedEarly
