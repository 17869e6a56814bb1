"""What an evaluator must do, and what it may do beside."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

from torch import Tensor

from search_spaces import Architecture
from search_spaces.spaces import Choices
from search_spaces.spaces.staged import Indices


class StoppedEarly(Exception):  # noqa: N818 - it is no error: the evaluation was not worth its end
    """An evaluation was ended by who watched it."""


class Monitor(Protocol):
    """Hears how an evaluation goes, and may end it."""

    @property
    def wants_accuracy(self) -> bool:
        """Whether accuracies on the way are of use to anybody; they cost time to find out."""
        ...

    def step(self, done: int, total: int) -> None:
        """So many steps of all are done."""
        ...

    def accuracy(self, epoch: int, accuracy: float) -> None:
        """The validation accuracy after so many epochs, from 1.

        Raises:
            StoppedEarly: going on is not worth it. Evaluators let it pass.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluator found.

    Attributes:
        accuracy: on the validation part, in 0..1.
        of_network: whether it is a figure of the network, and so also that of other choices that
            stand for the same network; otherwise it is of these choices alone.
        standard_error: of the accuracy, by the number of images it was taken on; 0 is unknown.
    """

    accuracy: float
    standard_error: float = 0.0
    of_network: bool = True


class Evaluator(Protocol):
    """Scores networks by accuracy alone. Contract tests hold every evaluator to this."""

    def evaluate(
        self, architecture: Architecture, choices: Choices, monitor: Monitor
    ) -> Evaluation:
        """The validation accuracy of ``architecture``, which ``choices`` stand for.

        Raises:
            DivergenceError: the network cannot be trained with the settings.
            StoppedEarly: the monitor ended it.
        """
        ...


@runtime_checkable
class NeedsPreparation(Protocol):
    """An evaluator that has work to do once, before the first network."""

    def prepare(self, monitor: Monitor) -> None:
        """Do it, or go on with it where a process before this one was stopped, or find it done.

        Raises:
            DivergenceError: it cannot be done with the settings.
        """
        ...


@runtime_checkable
class GivesWeights(Protocol):
    """An evaluator that has trained weights of the networks that it scores."""

    def weights(self, architecture: Architecture) -> dict[str, Tensor]:
        """The ``state_dict`` of ``build_model(architecture)`` that the winner starts from."""
        ...


@runtime_checkable
class KnowsSome(Protocol):
    """An evaluator that can score some networks of the space alone."""

    def members(self) -> Indices:
        """(networks, choices): these, as rows of the space."""
        ...


@runtime_checkable
class ScoresAtOnce(Protocol):
    """An evaluator that has no accuracies on the way, of which a pruner could end any."""

    scores_at_once: ClassVar[Literal[True]]
