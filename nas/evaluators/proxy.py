"""Proxy training: a few epochs from scratch at a small image size (MnasNet has five)."""

import torch

from latency.plan import no_progress
from nas.data import SearchData
from nas.evaluators.base import Evaluation
from nas.training.loop import StepCallback, TrainSettings, evaluate, train
from search_spaces import Architecture, build_model


class ProxyEvaluator:
    """Trains each network for a few epochs; the same seed and data order for all."""

    def __init__(
        self,
        *,
        data: SearchData,
        seed: int,
        resolution: int,
        settings: TrainSettings,
    ) -> None:
        """``resolution`` is the image size of training and validation, in pixels."""
        self._data = data
        self._seed = seed
        self._resolution = resolution
        self._settings = settings

    def evaluate(self, architecture: Architecture, on_step: StepCallback) -> Evaluation:
        torch.manual_seed(self._seed)
        model = build_model(architecture)
        train(
            model,
            self._data.train,
            self._settings,
            resolution=self._resolution,
            seed=self._seed,
            on_step=on_step,
        )
        accuracy = evaluate(
            model,
            self._data.validation,
            resolution=self._resolution,
            batch_size=4 * self._settings.batch_size,
            on_step=no_progress,
        )
        return Evaluation(accuracy=accuracy)
