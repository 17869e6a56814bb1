"""Proxy training: a few epochs from scratch at a small image size (MnasNet has five)."""

from functools import partial

import torch

from latency.plan import no_progress
from nas.data import SearchData
from nas.evaluators.base import Evaluation, Monitor
from nas.evaluators.validated import validated
from nas.training.loop import TrainSettings, evaluate, train
from nas.training.resolution import image_size
from search_spaces import Architecture, build_model
from search_spaces.spaces import Choices


class ProxyEvaluator:
    """Trains each network for a few epochs; the same seed and data order for all."""

    def __init__(
        self,
        *,
        data: SearchData,
        seed: int,
        resolution: int,
        settings: TrainSettings,
        full_resolution: int | None = None,
    ) -> None:
        """Train nothing yet.

        Args:
            data: whose training part trains, and whose validation part scores.
            seed: of weights and order.
            resolution: the image size of training and validation, in pixels.
            settings: of training.
            full_resolution: the deployed image size for which ``resolution`` stands; networks that
                are deployed at another are trained at another, in proportion. ``None``: all
                networks are trained at ``resolution``.
        """
        self._data = data
        self._seed = seed
        self._resolution = resolution
        self._settings = settings
        self._full_resolution = full_resolution

    def evaluate(
        self,
        architecture: Architecture,
        choices: Choices,  # noqa: ARG002 - the network decides, whatever choices made it
        monitor: Monitor,
    ) -> Evaluation:
        """Train and validate the network; its accuracy after an epoch goes to the monitor."""
        torch.manual_seed(self._seed)
        model = build_model(architecture)
        resolution = image_size(architecture.resolution, self._resolution, self._full_resolution)
        validate = partial(
            evaluate,
            model,
            self._data.validation,
            resolution=resolution,
            batch_size=4 * self._settings.batch_size,
            on_step=no_progress,
        )

        def tell_accuracy(epoch: int) -> None:
            monitor.accuracy(epoch, validate())

        train(
            model,
            self._data.train,
            self._settings,
            resolution=resolution,
            seed=self._seed,
            on_step=monitor.step,
            on_epoch=tell_accuracy if monitor.wants_accuracy else None,
        )
        return validated(validate(), len(self._data.validation))
