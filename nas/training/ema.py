"""A moving average of a network's weights, and of what its norms have counted."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """The average a of a model's state w: a ← d · a + (1 − d) · w after every step.

    d is the smaller of ``decay`` and (1 + t) / (10 + t) at step t, as in TensorFlow's
    ``ExponentialMovingAverage``: a short training is not averaged with how it began. What is no
    floating-point number, such as a counter, is the model's own.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model = model
        self._decay = decay
        self._average = {name: value.clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps, of which the first is 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        now = self._model.state_dict()
        floating = [name for name, value in now.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [self._average[name] for name in floating], [now[name] for name in floating], 1 - decay
        )
        for name in now.keys() - set(floating):
            self._average[name].copy_(now[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """While the context is open, the model has the average for its weights."""
        own = {name: value.clone() for name, value in self._model.state_dict().items()}
        self.apply()
        try:
            yield
        finally:
            self._model.load_state_dict(own)

    def apply(self) -> None:
        """Give the model the average for its weights."""
        self._model.load_state_dict(self._average)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by the names of the model's ``state_dict``; not copied."""
        return dict(self._average)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on with an average that ``state_dict`` gave."""
        for name, value in self._average.items():
            value.copy_(state[name])
