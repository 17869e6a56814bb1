"""The supernet: one set of weights is trained for all networks, and each is scored with its part.

Scoring a network takes a forward pass over some training images and the validation part, where
proxy training takes epochs; the winner inherits its weights.
"""

import math
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from latency.plan import no_progress
from nas.data import SearchData
from nas.evaluators.base import Evaluation, Monitor
from nas.evaluators.validated import validated
from nas.supernet.checkpoint import Checkpoint, load_checkpoint, purpose_of, save_checkpoint
from nas.supernet.layers import layers_of, reachable_layers
from nas.supernet.recalibration import recalibrate, recalibration_batches
from nas.supernet.settings import SupernetSettings
from nas.supernet.store import WeightStore
from nas.supernet.training import SupernetTrainer
from nas.training.devices import accelerator_of
from nas.training.loop import StepCallback, evaluate, use_threads
from nas.training.resolution import image_size
from search_spaces import Architecture
from search_spaces.spaces import Choices, SearchSpace
from search_spaces.torch_model import Network

CHECKPOINT = "supernet.pt"


class SupernetEvaluator:
    """Scores networks with weights that they share; ``prepare`` trains those once."""

    scores_at_once: ClassVar[Literal[True]] = True

    def __init__(
        self,
        *,
        data: SearchData,
        seed: int,
        space: SearchSpace,
        folder: Path,
        resolution: int,
        settings: SupernetSettings,
    ) -> None:
        """Train nothing yet.

        Args:
            data: whose training part trains, and whose validation part scores.
            seed: of weights, order and networks.
            space: whose networks share the weights.
            folder: where ``supernet.pt`` is kept.
            resolution: the image size, in pixels, for networks of the space's largest resolution.
            settings: of training and scoring.
        """
        self._data = data
        self._seed = seed
        self._space = space
        self._path = Path(folder) / CHECKPOINT
        self._resolution = resolution
        self._settings = settings
        self._purpose = purpose_of(space, data.train, settings, resolution=resolution, seed=seed)
        self._full_resolution = max(space.resolutions)
        self._weights: WeightStore | None = None

    def prepare(self, monitor: Monitor) -> None:
        """Train the supernet, or go on with its training, or find it done.

        Raises:
            DivergenceError: a loss became infinite or NaN.
            ValueError: the folder holds a supernet that was made for something else.
        """
        kept = load_checkpoint(self._path, self._purpose)
        if kept is None:
            weights = WeightStore.initial(reachable_layers(self._space), self._seed)
        else:
            weights = WeightStore(kept.tensors)
        weights = weights.to(self._device())
        if kept is None or kept.training is not None:
            trainer = SupernetTrainer(
                weights,
                self._space,
                self._data.train,
                self._settings,
                resolution=self._resolution,
                seed=self._seed,
            )
            if kept is not None and kept.training is not None:
                trainer.load_state(kept.training)
            trainer.run(monitor.step, partial(self._save, weights, trainer))
        self._weights = weights

    def evaluate(
        self,
        architecture: Architecture,
        choices: Choices,  # noqa: ARG002 - equal networks get equal scores, whatever made them
        monitor: Monitor,
    ) -> Evaluation:
        """The accuracy with the network's part of the weights.

        Raises:
            ValueError: it is no network of the space, or the supernet is not trained.
        """
        batch_size = 4 * self._settings.train.batch_size
        recalibrations = recalibration_batches(self._data.train, self._settings)
        total = recalibrations + math.ceil(len(self._data.validation) / batch_size)
        model = self._model(architecture, lambda done, _: monitor.step(done, total))
        accuracy = evaluate(
            model,
            self._data.validation,
            resolution=self._image_size(architecture),
            batch_size=batch_size,
            on_step=lambda done, _: monitor.step(
                recalibrations + math.ceil(done / batch_size), total
            ),
        )
        return validated(accuracy, len(self._data.validation))

    def weights(self, architecture: Architecture) -> dict[str, Tensor]:
        """The network's part of the weights, with which ``evaluate`` finds its accuracy.

        Raises:
            ValueError: as ``evaluate``.
        """
        return self._model(architecture, no_progress).cpu().state_dict()

    def _model(self, architecture: Architecture, on_step: StepCallback) -> Network:
        use_threads(self._settings.train.threads)
        layers = layers_of(self._space, self._space.encode(architecture))
        if architecture.blocks[-1] != layers[-1].block:  # encode lets classes differ
            raise ValueError(
                f"{architecture.name} has {architecture.num_classes} classes, but the networks of "
                f"{self._space.name} have {self._data.num_classes}"
            )
        if self._weights is None:
            self._weights = self._load()
        model = self._weights.network(architecture, layers)
        recalibrate(
            model,
            self._data.train,
            self._settings,
            resolution=self._image_size(architecture),
            seed=self._seed,
            on_step=on_step,
        )
        return model

    def _image_size(self, architecture: Architecture) -> int:
        return image_size(architecture.resolution, self._resolution, self._full_resolution)

    def _load(self) -> WeightStore:
        kept = load_checkpoint(self._path, self._purpose)
        if kept is None or kept.training is not None:
            state = "is not there" if kept is None else "is not trained to the end"
            raise ValueError(f"{self._path} {state}; prepare() trains it, before any network")
        return WeightStore(kept.tensors).to(self._device())

    def _device(self) -> torch.device:
        """Where it is trained and scores, which is for the process that does so to find."""
        return torch.device(accelerator_of(self._settings.train).value)

    def _save(self, weights: WeightStore, trainer: SupernetTrainer) -> None:
        training = None if trainer.step == trainer.total else trainer.state()
        checkpoint = Checkpoint(tensors=weights.tensors, training=training)
        save_checkpoint(self._path, self._purpose, checkpoint)
