"""A data set in memory. The search is handed its training and validation parts and no more."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from nas.data.preprocessing import CHANNELS, Preprocessing


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Normalised float32 images ``(N, C, H, W)``, at their own size, and labels ``(N,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, resolution: int, shuffle: Shuffle | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``(images, labels)`` at ``resolution``, channels last.

        Where they are shuffled, an incomplete last batch is dropped.
        """
        generator, start = (None, 0) if shuffle is None else (shuffle.generator(), shuffle.start)
        for chosen in islice(self.index_batches(batch_size, generator), start, None):
            yield self.images_at(chosen, resolution), self.labels[chosen]

    def index_batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Which images are in each of the ``batches``."""
        if generator is None:
            order = torch.arange(len(self))
        else:
            order = torch.randperm(len(self), generator=generator)
        for chosen in torch.split(order, batch_size):
            if generator is not None and len(chosen) < min(batch_size, len(self)):
                return
            yield chosen

    def subset(self, rows: Sequence[int]) -> "Split":
        """Some of the images."""
        return Split(images=self.images[rows], labels=self.labels[rows])

    def images_at(self, chosen: Tensor, resolution: int) -> Tensor:
        """Some of the images, ``resolution`` pixels high and wide, channels last."""
        images = functional.interpolate(
            self.images[chosen],
            size=(resolution, resolution),
            mode="bilinear",
            antialias=resolution < max(self.images.shape[2:]),
        )
        return images.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchData:
    """What a search may look at."""

    train: Split
    validation: Split
    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageData:
    """A whole data set, and how its images were prepared."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    preprocessing: Preprocessing

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def for_search(self) -> SearchData:
        """The data set without its test part."""
        return SearchData(
            train=self.train, validation=self.validation, num_classes=self.num_classes
        )


def split_images(
    name: str,
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    seed: int,
    validation_share: float = 0.2,
    test_share: float = 0.2,
) -> ImageData:
    """Split images by ``seed``, with equal class shares, and normalise them.

    Args:
        name: of the data set, for reports.
        images: ``(N, C, H, W)``, pixels in 0..1; one channel is repeated to three.
        labels: ``(N,)``, each an index into ``class_names``.
        class_names: at least two.
        seed: the same seed gives the same parts.
        validation_share, test_share: of all images, each in 0.01..0.45.

    Raises:
        ValueError: a shape, label, pixel or share is not as above, or a class has too few images.
    """
    for field, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0.01 <= share <= 0.45:
            raise ValueError(f"data.{field} must be in 0.01..0.45, but got {share!r}")
    _check_images(images, labels, class_names)
    # Counts, for the share of a rest is not exact in floating point.
    tested, validated = (math.ceil(share * len(labels)) for share in (test_share, validation_share))
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=tested, stratify=labels, random_state=seed
    )
    train, validation = train_test_split(
        rest,
        test_size=validated,
        stratify=labels[rest],
        random_state=seed,
    )
    mean, std = float(images[train].mean()), float(images[train].std())
    if std == 0:
        raise ValueError(f"all pixels of the training part are {mean:g}; there is nothing to learn")

    def part(indices: NDArray[np.int64]) -> Split:
        normalised = torch.from_numpy(((images[indices] - mean) / std).astype(np.float32))
        channels = 3 if images.shape[1] == 1 else images.shape[1]
        return Split(
            images=normalised.expand(-1, channels, -1, -1).contiguous(),
            labels=torch.from_numpy(labels[indices].astype(np.int64)),
        )

    return ImageData(
        name=name,
        train=part(train),
        validation=part(validation),
        test=part(test),
        class_names=tuple(class_names),
        preprocessing=Preprocessing(mean=(mean,) * CHANNELS, std=(std,) * CHANNELS),
    )


def _check_images(
    images: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]
) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) != len(labels):
        raise ValueError(
            "images must have the shape (N, 1 or 3, H, W) with a label each, but images are "
            f"{images.shape} and labels {labels.shape}"
        )
    if not np.isfinite(images).all() or images.min() < 0 or images.max() > 1:
        raise ValueError("pixels must be in 0..1; divide bytes by 255")
    if len(class_names) < 2 or labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"labels must be in 0..{len(class_names) - 1}, one for each of at least two classes, "
            f"but are {labels.min()}..{labels.max()}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() < 5:
        few = class_names[int(np.argmin(counts))]
        raise ValueError(f"every class needs at least 5 images, but {few!r} has {counts.min()}")
