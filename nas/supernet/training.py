"""Training a supernet: the sandwich rule with in-place distillation.

Every step trains the largest and the smallest network of the space and some random ones on the
same batch (Yu and Huang, 2019, sections 3.1 and 3.2): the largest learns the labels, the others
what it says of the images. Their gradients are added up, for one step of the optimiser. Norms
count on the batch; every network's statistics are counted when it is scored.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas.data import Split
from nas.supernet.layers import Layer, layers_of
from nas.supernet.sampling import fair_choices, largest_choices, smallest_choices
from nas.supernet.settings import SupernetSettings
from nas.supernet.store import WeightStore, channels_last, key_of, slice_part, weightless_block
from nas.training.loop import StepCallback, use_threads
from nas.training.meter import DivergenceError
from nas.training.optimizers import build_optimizer, set_rate
from nas.training.resolution import image_size
from nas.training.schedule import Schedule
from search_spaces.spaces import Choices, SearchSpace
from search_spaces.spaces.staged import RESOLUTION


class SupernetTrainer:
    """Trains ``weights`` in place, on their device, from the step where an earlier one stopped.

    All that is random follows from the seed and the number of the step, so that training that was
    stopped goes on as if it had not been.
    """

    def __init__(
        self,
        weights: WeightStore,
        space: SearchSpace,
        data: Split,
        settings: SupernetSettings,
        *,
        resolution: int,
        seed: int,
    ) -> None:
        self.step = 0
        self._weights = weights
        self._space = space
        self._data = data
        self._settings = settings
        self._resolution = resolution
        self._seed = seed
        self._batch_size = min(settings.train.batch_size, len(data))
        self._steps_an_epoch = len(data) // self._batch_size
        self.total = self._steps_an_epoch * settings.train.epochs
        self._schedule = Schedule.of(settings.train, self.total, self._steps_an_epoch)
        self._largest, self._smallest = largest_choices(space), smallest_choices(space)
        self._full_resolution = max(space.resolutions)
        self._optimizer = _make_optimizer(weights, settings)

    def run(self, on_step: StepCallback, save: Callable[[], None]) -> None:
        """Train to the end; ``save`` is called now and then, and at the end.

        Raises:
            DivergenceError: a loss became infinite or NaN.
        """
        use_threads(self._settings.train.threads)
        saved = time.monotonic()
        for chosen in self._remaining_batches():
            self.train_on(chosen)
            self.step += 1
            on_step(self.step, self.total)
            if time.monotonic() - saved >= self._settings.checkpoint_s or self.step == self.total:
                save()
                saved = time.monotonic()

    def state(self) -> dict[str, Any]:
        """All that going on needs beside the weights."""
        return {"step": self.step, "optimizer": self._optimizer.state_dict()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self._optimizer.load_state_dict(state["optimizer"])

    def networks(self, step: int) -> list[Choices]:
        """The networks that a step trains, the largest first."""
        first = step * self._settings.samples
        numbers = range(first, first + self._settings.samples)
        random = [fair_choices(self._space, self._seed, number) for number in numbers]
        return [self._largest, self._smallest, *random]

    def _remaining_batches(self) -> Iterator[Tensor]:
        begun, done = divmod(self.step, self._steps_an_epoch)
        for epoch in range(begun, self._settings.train.epochs):
            generator = torch.Generator().manual_seed(self._random_seed("order", epoch))
            batches = self._data.index_batches(self._batch_size, generator)
            yield from islice(batches, done if epoch == begun else 0, None)

    def train_on(self, chosen: Tensor) -> None:
        """One step, without counting it, on the images of these numbers."""
        train = self._settings.train
        torch.manual_seed(self._random_seed("dropout", self.step))
        device, soft_labels = self._weights.device, None
        labels = self._data.labels[chosen].to(device, non_blocking=True)

        @cache
        def images(size: int) -> Tensor:
            return self._data.images_at(chosen, size).to(device, non_blocking=True)

        for choices in self.networks(self.step):
            logits = self._accumulate(choices, images(self._size(choices)), labels, soft_labels)
            if soft_labels is None:
                soft_labels = logits.softmax(1)
        set_rate(self._optimizer, train.peak_rate * self._schedule.factor(self.step))
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _accumulate(
        self, choices: Choices, images: Tensor, labels: Tensor, soft_labels: Tensor | None
    ) -> Tensor:
        """Add a network's gradients to the weights'; returns its logits (N, classes)."""
        layers = layers_of(self._space, choices)
        logits, parts = run_network(self._weights, layers, images, self._space.norm_epsilon)
        loss = self._loss(logits, labels, soft_labels)
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"the loss is {loss.item()} at step {self.step} of {self.total} of the supernet; "
                f"lower the learning rate (it is {self._settings.train.learning_rate})"
            )
        gradients = torch.autograd.grad(loss, list(parts.values()))
        for key, gradient in zip(parts, gradients, strict=True):
            add_gradient(self._weights.tensors[key], gradient)
        return logits.detach()

    def _size(self, choices: Choices) -> int:
        deployed = int(choices.get(RESOLUTION, self._space.resolution))
        return image_size(deployed, self._resolution, self._full_resolution)

    def _loss(self, logits: Tensor, labels: Tensor, soft_labels: Tensor | None) -> Tensor:
        share = 0.0 if soft_labels is None else self._settings.distillation
        smoothing = self._settings.train.label_smoothing
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if soft_labels is None:
            return loss
        return share * functional.cross_entropy(logits, soft_labels) + (1 - share) * loss

    def _random_seed(self, use: str, number: int) -> int:
        sequence = np.random.SeedSequence((self._seed, *use.encode(), number))
        return int(sequence.generate_state(1)[0])


def run_network(
    weights: WeightStore, layers: Iterable[Layer], images: Tensor, norm_epsilon: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """The logits (N, classes) of a network in training, and its parts of the weights by name.

    The parts are leaves of the graph, so that going backward touches no more of the weights than
    the network has; and they are dense, which convolutions need anyway: copies, where the network
    has less than the store.
    """
    maps = images
    leaves: dict[str, Tensor] = {}
    for layer in layers:
        block = weightless_block(layer.block, layer.in_channels, norm_epsilon)
        own = {
            path: channels_last(part).detach().requires_grad_()
            for path, part in weights.parts(layer).items()
        }
        maps = block(own, maps)
        leaves |= {key_of(layer, path): part for path, part in own.items()}
    return maps, leaves


def add_gradient(whole: Tensor, gradient: Tensor) -> None:
    """Add the gradient of a part of a weight to the weight's own."""
    if whole.grad is None:
        if gradient.shape == whole.shape:
            whole.grad = gradient
            return
        whole.grad = torch.zeros_like(whole)
    slice_part(whole.grad, tuple(gradient.shape)).add_(gradient)


def _make_optimizer(weights: WeightStore, settings: SupernetSettings) -> torch.optim.Optimizer:
    tensors = weights.tensors.values()
    vectors = [tensor for tensor in tensors if tensor.dim() == 1]
    others = [tensor for tensor in tensors if tensor.dim() > 1]
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return build_optimizer(groups, settings.train)
