"""A data set in three parts. The search is handed its training and validation parts and no more."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from nas.data.memory import MemorySplit
from nas.data.parts import LEAST_IMAGES, check_shares
from nas.data.preprocessing import CHANNELS, Preprocessing
from nas.data.split import Split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchData:
    """What a search may look at."""

    train: Split
    validation: Split
    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageData:
    """A whole data set, and how its images are prepared.

    Attributes:
        notes: what a person should know of it, a line each: what was skipped, say.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    notes: tuple[str, ...] = ()

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
    images: NDArray[np.float32] | NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    *,
    seed: int,
    validation_share: float = 0.2,
    test_share: float = 0.2,
) -> ImageData:
    """Split images by ``seed``, with equal class shares, and find how to normalise them.

    Args:
        name: of the data set, for reports.
        images: ``(N, C, H, W)``, bytes or numbers in 0..1; one channel is repeated to three.
        labels: ``(N,)``, each an index into ``class_names``.
        class_names: at least two.
        seed: the same seed gives the same parts.
        validation_share, test_share: of all images, each in 0.01..0.45.

    Raises:
        ValueError: a shape, label, pixel or share is not as above, or a class has too few images.
    """
    check_shares(validation_share=validation_share, test_share=test_share)
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
    preprocessing = _statistics(images[train])

    def part(indices: NDArray[np.int64]) -> Split:
        pixels = torch.from_numpy(images[indices])
        return MemorySplit(
            images=pixels.expand(-1, CHANNELS, -1, -1),
            labels=torch.from_numpy(labels[indices].astype(np.int64)),
            preprocessing=preprocessing,
        )

    return ImageData(
        name=name,
        train=part(train),
        validation=part(validation),
        test=part(test),
        class_names=tuple(class_names),
        preprocessing=preprocessing,
    )


def _statistics(images: NDArray[np.float32] | NDArray[np.uint8]) -> Preprocessing:
    whole = 255 if images.dtype == np.uint8 else 1
    mean = np.asarray(np.mean(images, axis=(0, 2, 3), dtype=np.float64)) / whole
    std = np.asarray(np.std(images, axis=(0, 2, 3), dtype=np.float64)) / whole
    if not std.any():
        raise ValueError(
            f"all pixels of the training part are {mean[0]:g}; there is nothing to learn"
        )
    # A channel that is the same everywhere has nothing to be divided by.
    mean, std = (np.broadcast_to(values, CHANNELS) for values in (mean, np.where(std, std, 1.0)))
    return Preprocessing(mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _check_images(
    images: NDArray[np.float32] | NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) != len(labels):
        raise ValueError(
            "images must have the shape (N, 1 or 3, H, W) with a label each, but images are "
            f"{images.shape} and labels {labels.shape}"
        )
    fits = images.dtype == np.uint8 or (
        np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1
    )
    if not fits:
        raise ValueError("pixels must be bytes or in 0..1; divide numbers up to 255 by 255")
    if len(class_names) < 2 or labels.min() < 0 or labels.max() >= len(class_names):
        raise ValueError(
            f"labels must be in 0..{len(class_names) - 1}, one for each of at least two classes, "
            f"but are {labels.min()}..{labels.max()}"
        )
    counts = np.bincount(labels, minlength=len(class_names))
    if counts.min() < LEAST_IMAGES:
        few = class_names[int(np.argmin(counts))]
        raise ValueError(
            f"every class needs at least {LEAST_IMAGES} images, but {few!r} has {counts.min()}"
        )
