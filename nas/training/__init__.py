"""The one training loop that proxy training and final training share."""

from nas.training.loop import TrainSettings, evaluate, train

__all__ = ["TrainSettings", "evaluate", "train"]
