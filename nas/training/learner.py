"""One step of training: mixed images, loss, gradient, optimiser, average."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.training.devices import Team
from nas.training.ema import WeightAverage
from nas.training.mixing import Mixed, mix
from nas.training.optimizers import build_optimizer, parameter_groups, set_rate
from nas.training.schedule import Schedule
from nas.training.settings import TrainSettings


class Learner:
    """A model with all that changes when it learns.

    What is random in a step follows from the seed and the step's number.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: TrainSettings,
        schedule: Schedule,
        *,
        seed: int,
        team: Team,
    ) -> None:
        """Move the model to the team's device; it stays the same object, and is not wrapped.

        Raises:
            ValueError: a dropout is given, and the model has none.
        """
        self._settings, self._schedule = settings, schedule
        self._seed, self._team = seed, team
        if settings.dropout is not None:
            set_dropout(model, settings.dropout)
        if settings.channels_last:
            # Depthwise layers train several times faster on a CPU with channels last.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        # Moved in place, parameters stay those that the optimiser was made with.
        self._optimizer = build_optimizer(parameter_groups(model, settings), settings)
        self._wrapped, self._stepper = team.set_up(model, self._optimizer, settings)
        self._average: WeightAverage | None = None
        if settings.ema_decay is not None:
            self._average = WeightAverage(model, settings.ema_decay)

    @property
    def learning_rate(self) -> float:
        """That of the last step."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    def loss_of(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        """Compute the gradient on this process's share of a batch; returns the share's loss.

        Args:
            images: the whole batch ``(N, C, H, W)``.
            labels: ``(N,)``.
            step: how many were done before.
        """
        settings = self._settings
        entropy = (self._seed, step, self._team.rank)
        words = np.random.SeedSequence(entropy).generate_state(2, np.uint64)
        torch.manual_seed(int(words[0]))  # of dropout
        images, labels = self._team.share(images), self._team.share(labels)
        if not settings.channels_last:
            images = images.contiguous()
        generator = np.random.default_rng(int(words[1]))
        batch = mix(
            images, labels, mixup=settings.mixup, cutmix=settings.cutmix, generator=generator
        )
        self._stepper.zero_grad()
        parts = batch.parts(settings.accumulate)
        losses = [self._backward(part, len(labels), part is parts[-1]) for part in parts]
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _backward(self, part: Mixed, images: int, is_last: bool) -> Tensor:
        """Add a part's gradient to the weights'; returns what it adds to the loss."""
        fabric = self._team.fabric
        joins = is_last or self._team.ranks == 1
        with nullcontext() if joins else fabric.no_backward_sync(self._wrapped):
            logits = self._wrapped(part.images)
            target = part.labels if part.share == 1 else part.targets(logits.shape[1])
            loss = functional.cross_entropy(
                logits, target, label_smoothing=self._settings.label_smoothing
            )
            if len(part.labels) != images:
                loss = loss * (len(part.labels) / images)
            fabric.backward(loss)
        return loss.detach()

    def follow(self, step: int) -> None:
        """Let the weights follow the gradient; ``step`` as above."""
        set_rate(self._optimizer, self._settings.peak_rate * self._schedule.factor(step))
        if (norm := self._settings.gradient_clip) is not None:
            self._team.fabric.clip_gradients(self._wrapped, self._stepper, max_norm=norm)
        self._stepper.step()
        if self._average is not None:
            self._average.update(step + 1)

    def begin(self) -> None:
        """Let norms and dropout do as in training."""
        self._wrapped.train()

    @contextmanager
    def as_it_would_end(self) -> Iterator[None]:
        """While the context is open, the model is what training would leave if it ended now."""
        if self._average is None:
            self._team.agree(self.model.buffers())
            yield
        else:
            self._team.agree(self._average.state_dict().values())
            with self._average.applied():
                yield

    def end(self) -> None:
        """Give the model the weights that are the result."""
        if self._average is not None:
            self._average.apply()

    def is_finite(self) -> bool:
        """Whether all weights are numbers, and all that norms have counted."""
        return all(bool(torch.isfinite(each).all()) for each in self.model.state_dict().values())

    def state_dict(self) -> dict[str, Any]:
        """All that going on needs."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
            "precision": self._team.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])
        self._team.fabric.strategy.precision.load_state_dict(state["precision"])


def set_dropout(model: nn.Module, share: float) -> None:
    """Let a network leave out this share before its classifier.

    Raises:
        ValueError: it has no dropout.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    if not layers:
        raise ValueError(f"TrainSettings.dropout={share}, but the network has no dropout layer")
    for layer in layers:
        layer.p = share
