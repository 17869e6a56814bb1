"""How a supernet is trained, and how its networks are scored."""

from dataclasses import dataclass

from nas.checks import check_fields
from nas.training.settings import Precision, TrainSettings

_WITHOUT = {
    "accumulate": 1,
    "dropout": None,
    "mixup": 0,
    "cutmix": 0,
    "augmentation": None,
    "ema_decay": None,
    "gradient_clip": None,
    "precision": Precision.FULL,
    "channels_last": True,
    "compile": False,
}
"""What the supernet's own step does not do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetSettings:
    """The sandwich rule's settings (Yu and Huang, 2019, "Universally slimmable networks").

    Attributes:
        train: epochs, batches, optimiser, rate and its schedule, as for a single network. All
            networks of a step see the same batch; weight decay spares norms and biases,
            whatever ``decay_vectors`` is. Settings of a single network's training alone are
            refused.
        samples: random networks a step, beside the largest and the smallest.
        distillation: the share of the largest network's soft labels in what the others learn; the
            rest are the labels themselves.
        recalibration_batches: training batches that a network's norm statistics are counted on.
        checkpoint_s: seconds between checkpoints of the training.
    """

    train: TrainSettings
    samples: int = 2
    distillation: float = 1.0
    recalibration_batches: int = 8
    checkpoint_s: float = 60.0

    def __post_init__(self) -> None:
        for field, value in _WITHOUT.items():
            if (given := getattr(self.train, field)) != value:
                raise ValueError(
                    f"SupernetSettings.train.{field} must be {value}, for a supernet's own step "
                    f"knows nothing else, but got {given}"
                )
        check_fields(self, 0, 1000, "samples", whole=True)
        check_fields(self, 0, 1, "distillation")
        check_fields(self, 1, 100_000, "recalibration_batches", whole=True)
        check_fields(self, 0, 1e6, "checkpoint_s")
