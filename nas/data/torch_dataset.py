"""``data=torch_dataset``: any ``torch.utils.data.Dataset`` of images and class numbers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from latency.console import Terminal
from nas.data.collection import Collection, Part, consecutive, image_data
from nas.data.dataset import ImageData
from nas.data.decoding import decoding_threads
from nas.data.scan import reason_of
from nas.data.source import NotAnImageError, place_in


class Items(Protocol):
    """What a map-style ``torch.utils.data.Dataset`` has: ``(image, label)`` by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ItemsSource:
    """An ``ImageSource`` of the items of one or more data sets, one after another."""

    datasets: Sequence[Items]
    names: Sequence[str]

    def open(self, index: int) -> Image.Image:
        """An image, from whatever the item holds."""
        return as_image(self.item(index)[0])

    def item(self, index: int) -> Any:
        """What the data set itself gives."""
        number, row = place_in(self.datasets, index)
        return self.datasets[number][row]

    def name(self, index: int) -> str:
        """The part and the number in it."""
        number, row = place_in(self.datasets, index)
        return f"{self.names[number]}[{row}]"

    def digest(self, index: int) -> int:
        """Of the number: an item may be another one each time that it is asked for."""
        return index

    def fingerprint(self) -> str:
        """Of kinds and lengths; what the images are, no data set says."""
        kinds = [f"{type(dataset).__qualname__}-{len(dataset)}" for dataset in self.datasets]
        return "-".join(kinds)


def torch_dataset_data(
    *,
    dataset: Items,
    seed: int,
    validation: Items | None = None,
    test: Items | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    validation_share: float = 0.2,
    test_share: float = 0.2,
) -> ImageData:
    """The images of a data set, or of one for each part.

    Every item is asked for once to begin with, from several threads, in every process: a data set
    does not say what its items are. Images may be pillow's, tensors ``(C, H, W)`` or arrays
    ``(H, W, C)``, of bytes or of numbers in 0..1, neither normalised nor augmented.

    Args:
        dataset: for training; alone, it is split.
        seed: of the split.
        validation, test: of the other parts.
        class_names: by themselves ``dataset.classes``, or the numbers of the classes.
        name: for reports; by itself that of the data set's class.
        validation_share, test_share: of the images that are split, each in 0.01..0.45.

    Raises:
        ValueError: the items are not as above, or make no data set.
    """
    given = {Part.TRAIN: dataset, Part.VALIDATION: validation, Part.TEST: test}
    datasets = {part: one for part, one in given.items() if one is not None}
    source = ItemsSource(datasets=list(datasets.values()), names=list(datasets))
    title = name or type(dataset).__name__
    labels = _labels(source, sum(len(one) for one in datasets.values()), title)
    known = class_names or getattr(dataset, "classes", None)
    names = tuple(map(str, known or range(int(labels.max(initial=-1)) + 1)))
    if labels.max(initial=-1) >= len(names):
        raise ValueError(
            f"the labels of {title} go up to {labels.max()}, but there are {len(names)} class names"
        )
    return image_data(
        Collection(
            name=title,
            title=title,
            source=source,
            labels=labels,
            class_names=names,
            parts=consecutive({part: len(one) for part, one in datasets.items()}),
        ),
        seed=seed,
        validation_share=validation_share,
        test_share=test_share,
        scans=None,
    )


def as_image(item: Any) -> Image.Image:
    """An image of pillow's, a tensor ``(C, H, W)`` or an array ``(H, W[, C])`` as pillow's.

    Raises:
        NotAnImageError: it is none of these, or its numbers are not pixels.
    """
    if isinstance(item, Image.Image):
        return item
    if isinstance(item, torch.Tensor):
        pixels = item.numpy()
        pixels = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    elif isinstance(item, np.ndarray):
        pixels = item
    else:
        raise NotAnImageError(
            f"an image must be pillow's, a tensor or an array, but is a {type(item)}"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise NotAnImageError(
            f"an image must have 1, 3 or 4 channels, but has the shape {item.shape}"
        )
    return Image.fromarray(_bytes(pixels))


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    if pixels.dtype.kind != "f" or not (pixels.min() >= 0 and pixels.max() <= 1):
        raise NotAnImageError(
            f"pixels must be bytes or numbers in 0..1, but are {pixels.dtype} in "
            f"{pixels.min():g}..{pixels.max():g}; leave normalising to the framework"
        )
    return np.ascontiguousarray(np.rint(pixels * 255).astype(np.uint8))


def _labels(source: ItemsSource, number: int, title: str) -> NDArray[np.int64]:
    """Of all items; 0 of those that cannot be read, which the scan will find, too."""

    def label(index: int) -> int | str:
        try:
            item = source.item(index)
        except Exception as error:  # whatever a data set of somebody else's may raise
            return reason_of(error)
        return _label(item, title)

    labels = np.zeros(number, np.int64)
    reasons: list[str] = []
    with (
        Terminal().progress(f"reading {number:,} labels of {title}") as update,
        ThreadPoolExecutor(decoding_threads()) as pool,
    ):
        for index, found in enumerate(pool.map(label, range(number))):
            if isinstance(found, str):
                reasons.append(found)
            else:
                labels[index] = found
            update(index + 1, number)
    if number and len(reasons) == number:
        raise ValueError(f"no item of {title} can be read; the first: {reasons[0]}")
    return labels


def _label(item: Any, title: str) -> int:
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise ValueError(f"the items of {title} must be (image, label), but one is a {type(item)}")
    label = item[1].item() if isinstance(item[1], torch.Tensor | np.generic) else item[1]
    if isinstance(label, bool) or not isinstance(label, int) or label < 0:
        raise ValueError(f"the labels of {title} must be integers from 0, but one is {label!r:.80}")
    return label
