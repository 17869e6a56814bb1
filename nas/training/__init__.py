"""The one training loop that proxy training and final training share."""

from nas.training.loop import Phase, TrainSettings, evaluate, train

__all__ = ["Phase", "TrainSettings", "evaluate", "train"]
