"""A part of a data set: what training, validation and tests see of it, wherever images are kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nas.data.augmentation import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """An order of images: another one for each epoch of each seed.

    Attributes:
        start: how many batches of the epoch are left out, for they have been trained on.
    """

    seed: int
    epoch: int
    start: int = 0

    def generator(self) -> torch.Generator:
        """What draws the order, and nothing else."""
        words = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(words[0]) % 2**63)

    def draws(self, batch: int) -> np.random.Generator:
        """What draws how a batch is augmented, counted from the beginning of the epoch."""
        return np.random.default_rng(np.random.SeedSequence((self.seed, self.epoch, batch)))


class Split(Protocol):
    """Images with labels."""

    @property
    def labels(self) -> Tensor:
        """``(N,)``, int64."""
        ...

    def __len__(self) -> int: ...

    def subset(self, rows: Sequence[int]) -> "Split":
        """Some of the images."""
        ...

    def fingerprint(self) -> str:
        """Another one for other images or labels, or in another order."""
        ...

    def index_batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Which images are in each of the ``batches``."""
        ...

    def images_at(self, chosen: Tensor, resolution: int) -> Tensor:
        """Some of the images as a network's input, without augmentation.

        Returns:
            Normalised float32 ``(N, 3, resolution, resolution)``, channels last.
        """
        ...

    def batches(
        self,
        batch_size: int,
        resolution: int,
        shuffle: Shuffle | None = None,
        augmentation: Augmentation | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``(images, labels)``, the images as from ``images_at``.

        Where they are shuffled, an incomplete last batch is dropped. How a batch is augmented
        follows from the shuffle's seed and epoch and the number of the batch alone.

        Raises:
            ValueError: images are to be augmented, but not shuffled.
        """
        ...


def index_batches(
    number: int, batch_size: int, generator: torch.Generator | None = None
) -> Iterator[Tensor]:
    """The numbers of ``number`` images in batches: in order, or drawn without an incomplete one."""
    if generator is None:
        order = torch.arange(number)
    else:
        order = torch.randperm(number, generator=generator)
    for chosen in torch.split(order, batch_size):
        if generator is not None and len(chosen) < min(batch_size, number):
            return
        yield chosen


def numbered_batches(
    number: int, batch_size: int, shuffle: Shuffle | None
) -> Iterator[tuple[int, Tensor]]:
    """``index_batches`` from where the shuffle starts, with their numbers in the epoch."""
    generator, start = (None, 0) if shuffle is None else (shuffle.generator(), shuffle.start)
    yield from islice(enumerate(index_batches(number, batch_size, generator)), start, None)


def check_augmentation(shuffle: Shuffle | None, augmentation: Augmentation | None) -> None:
    """Refuse to augment images that are not shuffled.

    Raises:
        ValueError: that is asked for.
    """
    if shuffle is None and augmentation is not None:
        raise ValueError(
            "images are augmented where they are shuffled, for what is drawn follows from the "
            "shuffle's seed; give a shuffle, or no augmentation"
        )
