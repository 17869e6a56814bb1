"""The learning rate, step by step. It follows from the number of the step alone."""

import math
from dataclasses import dataclass

from nas.training.settings import ScheduleKind, TrainSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The learning rate's factor at each step of ``total``.

    It rises in a straight line for ``rise`` steps. Then it falls: by half a cosine, to 0 at
    ``total``; or to ``decay_rate`` of itself after every ``decay_steps`` steps, all at once, as in
    MnasNet (Tan et al., 2019, section 5) and MobileNetV3 (Howard et al., 2019, section 6.1.1).
    """

    kind: ScheduleKind
    total: int
    rise: float
    decay_rate: float
    decay_steps: float

    @staticmethod
    def of(settings: TrainSettings, total: int, steps_an_epoch: int) -> "Schedule":
        """What the settings say, for a training of ``total`` steps."""
        rise = settings.warmup * total
        if settings.warmup_epochs is not None:
            rise = min(settings.warmup_epochs * steps_an_epoch, total)
        return Schedule(
            kind=settings.schedule,
            total=total,
            rise=rise,
            decay_rate=settings.decay_rate,
            decay_steps=max(1.0, settings.decay_epochs * steps_an_epoch),
        )

    def factor(self, step: int) -> float:
        """What the highest learning rate is multiplied by at ``step``, counted from 0."""
        if step < self.rise:
            return (step + 1) / (self.rise + 1)
        since = step - self.rise
        if self.kind is ScheduleKind.COSINE:
            return 0.5 * (1 + math.cos(math.pi * since / max(1.0, self.total - self.rise)))
        return self.decay_rate ** math.floor(since / self.decay_steps)
