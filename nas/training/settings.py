"""How a network is trained, as plain values."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from nas.checks import check_fields
from nas.data.augmentation import Augmentation
from nas.run_folder import flat


class OptimizerKind(StrEnum):
    """What follows the gradient."""

    SGD = "sgd"
    RMSPROP = "rmsprop"
    ADAMW = "adamw"


class ScheduleKind(StrEnum):
    """How the learning rate falls."""

    COSINE = "cosine"
    STEP_EXPONENTIAL = "step_exponential"


class Precision(StrEnum):
    """What is computed in fewer bits; weights are float32 in any case."""

    FULL = "32-true"
    BFLOAT16 = "bf16-mixed"
    FLOAT16 = "16-mixed"


class Accelerator(StrEnum):
    """Where a network is trained; ``AUTO`` is CUDA where there is a device, and else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


_KINDS: dict[str, type[StrEnum]] = {
    "optimizer": OptimizerKind,
    "schedule": ScheduleKind,
    "precision": Precision,
    "accelerator": Accelerator,
}
_WHERE_ONLY = frozenset({"threads", "accelerator", "channels_last", "compile"})
"""What decides how fast a network is trained, and nothing else but rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How a network is trained.

    Attributes:
        batch_size: images a step, on all devices together.
        accumulate: in how many parts, one after the other, a step takes them: less memory, the same
            gradient, but norms count on a part alone.
        rate_batch: the ``batch_size`` that ``learning_rate`` is meant for; with another the rate is
            another in proportion (Goyal et al., 2017). ``None``: the rate is as it is.
        momentum: of SGD (Nesterov's) and of RMSProp; the first β of AdamW.
        square_decay: of the mean of squared gradients: RMSProp's decay, AdamW's second β. ``None``:
            0.9 and 0.999.
        epsilon: what is added to that mean in RMSProp (inside of the root, as in TensorFlow), and
            to its root in AdamW. ``None``: 1e-3 and 1e-8.
        decay_vectors: whether weight decay is for norms and biases too.
        warmup: the share of steps in which the learning rate rises.
        warmup_epochs: the same in epochs, instead of ``warmup``.
        decay_rate, decay_epochs: of ``step_exponential``: the rate is multiplied by the first after
            every so many epochs.
        dropout: before the classifier, instead of what the network says.
        mixup, cutmix: the α of how images of a batch are mixed (Zhang et al., 2018; Yun et al.,
            2019), 0 for not; of both, each step takes one.
        augmentation: what is done to the images before; ``None``: nothing.
        ema_decay: of a moving average of weights and norm statistics, which is what is validated,
            and the result.
        gradient_clip: the largest norm of the gradient.
        accelerator, precision, channels_last, compile: see ``docs/training.md``.
        threads: torch's CPU threads; ``None`` for all cores. At small image sizes a second thread
            brings little, and on a busy machine each waits for the other.
    """

    epochs: int
    batch_size: int = 32
    accumulate: int = 1
    optimizer: OptimizerKind = OptimizerKind.SGD
    learning_rate: float = 0.05
    rate_batch: int | None = None
    momentum: float = 0.9
    square_decay: float | None = None
    epsilon: float | None = None
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    schedule: ScheduleKind = ScheduleKind.COSINE
    warmup: float = 0.2
    warmup_epochs: float | None = None
    decay_rate: float = 0.97
    decay_epochs: float = 2.4
    label_smoothing: float = 0.1
    dropout: float | None = None
    mixup: float = 0.0
    cutmix: float = 0.0
    augmentation: Augmentation | None = None
    ema_decay: float | None = None
    gradient_clip: float | None = None
    accelerator: Accelerator = Accelerator.AUTO
    precision: Precision = Precision.FULL
    channels_last: bool = True
    compile: bool = False
    threads: int | None = 1

    def __post_init__(self) -> None:
        for field, kind in _KINDS.items():
            object.__setattr__(self, field, _one_of(field, getattr(self, field), kind))
        check_fields(self, 1, 100_000, "epochs", whole=True)
        check_fields(self, 2, 65_536, "batch_size", whole=True)
        check_fields(self, 1, self.batch_size // 2, "accumulate", whole=True)
        check_fields(self, 1e-12, 1e3, "learning_rate")
        check_fields(self, 0, 0.9999, "momentum")
        check_fields(self, 0, 1, "weight_decay", "warmup")
        check_fields(self, 0.01, 1, "decay_rate")
        check_fields(self, 0.01, 1e5, "decay_epochs")
        check_fields(self, 0, 0.99, "label_smoothing")
        check_fields(self, 0, 10, "mixup", "cutmix")
        self._check_optional()
        if not isinstance(self.augmentation, Augmentation | None):
            raise ValueError(
                "TrainSettings.augmentation must be null or a nas.data.Augmentation, but got "
                f"{self.augmentation!r:.80}"
            )
        for field in ("decay_vectors", "channels_last", "compile"):
            if not isinstance(value := getattr(self, field), bool):
                raise ValueError(f"TrainSettings.{field} must be true or false, but got {value!r}")

    def _check_optional(self) -> None:
        for field, low, high in (
            ("square_decay", 0.0, 0.999999),
            ("epsilon", 1e-12, 1.0),
            ("warmup_epochs", 0.0, 1e5),
            ("dropout", 0.0, 0.95),
            ("ema_decay", 0.0, 0.9999999),
            ("gradient_clip", 1e-6, 1e6),
        ):
            if getattr(self, field) is not None:
                check_fields(self, low, high, field)
        for field, highest in (("rate_batch", 1_000_000), ("threads", 1024)):
            if getattr(self, field) is not None:
                check_fields(self, 1, highest, field, whole=True)
        if self.warmup_epochs is not None and self.warmup_epochs > self.epochs:
            raise ValueError(
                f"TrainSettings.warmup_epochs must be in 0..{self.epochs}, which are all epochs, "
                f"but got {self.warmup_epochs}"
            )

    @property
    def peak_rate(self) -> float:
        """The learning rate after warm-up, for this batch size."""
        if self.rate_batch is None:
            return self.learning_rate
        return self.learning_rate * self.batch_size / self.rate_batch

    @property
    def images_at_once(self) -> int:
        """The images of a step's largest part."""
        return math.ceil(self.batch_size / self.accumulate)

    def decisive(self) -> dict[str, str]:
        """All settings that the trained weights depend on, by name, to compare and to show."""
        decisive = {name: v for name, v in asdict(self).items() if name not in _WHERE_ONLY}
        decisive["augmentation"] = asdict(self.augmentation or Augmentation())
        return {name: shown(value) for name, value in flat(decisive).items()}


def shown(value: Any) -> str:
    """A setting in words: numbers without a tail of zeros."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.12g}" if is_number and math.isfinite(value) else str(value)


def _one_of(field: str, value: object, kind: type[StrEnum]) -> StrEnum:
    if value not in tuple(kind):
        raise ValueError(
            f"TrainSettings.{field} must be one of {', '.join(kind)}, but got {value!r:.80}"
        )
    return kind(str(value))
