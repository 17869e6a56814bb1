"""The one training loop that proxies, fine-tunes and final training share."""

from nas.training.loop import evaluate, train
from nas.training.settings import TrainSettings

__all__ = ["TrainSettings", "evaluate", "train"]
