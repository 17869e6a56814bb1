"""What a training says of itself: loss, rate, speed; and that it fails where it does."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor

from nas.training.devices import Team


class DivergenceError(RuntimeError):
    """The loss is no longer a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a training is.

    Attributes:
        batch_size: images a step.
        steps_an_epoch, total: steps.
    """

    batch_size: int
    steps_an_epoch: int
    total: int

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or all, is over after so many steps."""
        return step % self.steps_an_epoch == 0 or step == self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How training goes.

    Attributes:
        step: steps done, of ``total``.
        epoch: epochs begun.
        ends_epoch: whether an epoch, or all, is over.
        loss: the mean since the report before.
        learning_rate: of the last step.
        images_per_s: since the report before, on all devices together.
    """

    step: int
    total: int
    epoch: int
    ends_epoch: bool
    loss: float
    learning_rate: float
    images_per_s: float


ReportCallback = Callable[[Report], None]


class Meter:
    """Adds up losses until they are reported, and stops a training whose loss is no number."""

    def __init__(self, plan: Plan, team: Team, remedy: str) -> None:
        """Begin.

        Args:
            plan: of the training.
            team: whose losses are added up.
            remedy: what a person whose training failed is told.
        """
        self._plan, self._team, self._remedy = plan, team, remedy
        # On a CPU a loss is known at once; elsewhere looking at each would stop the device.
        self._looks_at_each = team.device.type == "cpu" and team.ranks == 1
        self._sum = torch.zeros((), device=team.device)
        self.begin(0)

    def begin(self, step: int) -> None:
        """From here on it counts."""
        self._sum.zero_()
        self._step, self._time = step, time.monotonic()

    def steps_since(self, step: int) -> int:
        """Steps since the last report."""
        return step - self._step

    def add(self, loss: Tensor, step: int) -> None:
        """Take in a step's loss; ``step`` were done before.

        Raises:
            DivergenceError: it is infinite or NaN.
        """
        if self._looks_at_each:
            self.check(float(loss), step)
        self._sum += loss

    def check(self, loss: float, step: int) -> None:
        """Raises DivergenceError where a loss is infinite or NaN."""
        if not math.isfinite(loss):
            self.fail(f"the loss is {loss}", step)

    def fail(self, what: str, step: int) -> NoReturn:
        """Raises DivergenceError, which says what is wrong and what may help."""
        raise DivergenceError(f"{what} at step {step} of {self._plan.total}; {self._remedy}")

    def report(self, step: int, learning_rate: float) -> Report:
        """Sum up since the last report; all processes of a team do so at the same steps.

        Raises:
            DivergenceError: a loss since then was infinite or NaN.
        """
        steps, seconds = step - self._step, time.monotonic() - self._time
        loss = float(self._team.sum(self._sum)) / (steps * self._team.ranks)
        self.check(loss, step)
        self.begin(step)
        return Report(
            step=step,
            total=self._plan.total,
            epoch=math.ceil(step / self._plan.steps_an_epoch),
            ends_epoch=self._plan.ends_epoch(step),
            loss=loss,
            learning_rate=learning_rate,
            images_per_s=steps * self._plan.batch_size / max(seconds, 1e-9),
        )
