"""What an evaluator must do."""

from dataclasses import dataclass
from typing import Protocol

from nas.training.loop import StepCallback
from search_spaces import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluator found: accuracy on the validation part, in 0..1."""

    accuracy: float


class Evaluator(Protocol):
    """Scores networks by accuracy alone. Contract tests hold every evaluator to this."""

    def evaluate(self, architecture: Architecture, on_step: StepCallback) -> Evaluation:
        """The validation accuracy of ``architecture``.

        Raises:
            DivergenceError: the network cannot be trained with the settings.
        """
        ...
