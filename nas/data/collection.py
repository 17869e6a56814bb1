"""From labelled images in some source to a data set in three parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.dataset import ImageData
from nas.data.decoding import upright_rgb
from nas.data.lazy import LazySplit
from nas.data.memory import MemorySplit
from nas.data.parts import LEAST_IMAGES, Rows, check_shares, divide
from nas.data.preprocessing import Preprocessing
from nas.data.scan import Scan, kept_scan
from nas.data.source import ImageSource
from nas.data.split import Split

_SMALL_SIDE = 64
_SMALL_BYTES = 1 << 30
"""Images of one size that are no larger, and together need no more, are kept in memory."""
_CROP_OF_PHOTOS = 0.875
_NAMED = 5


class Part(StrEnum):
    """What a data set says of an image itself."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


_SPELLINGS = {
    "train": Part.TRAIN,
    "training": Part.TRAIN,
    "val": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.TEST,
    "testing": Part.TEST,
}


def part_named(name: str) -> Part | None:
    """The part that a folder, a file or a table of this name is, in capitals or not."""
    return _SPELLINGS.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Collection:
    """Labelled images, not yet looked at.

    Attributes:
        name, title: for reports and files; for messages.
        labels: ``(N,)``, indices into ``class_names``.
        parts: the numbers of the images of each part that the data set has; one alone is split.
        notes: what a person should know of how the images were found.
    """

    name: str
    title: str
    source: ImageSource
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    parts: dict[Part, Rows]
    notes: tuple[str, ...] = ()


def consecutive(lengths: Mapping[Part, int]) -> dict[Part, Rows]:
    """The numbers of the images of parts that come one after another."""
    ends = np.cumsum([0, *lengths.values()])
    return {
        part: np.arange(begin, end, dtype=np.int64)
        for part, begin, end in zip(lengths, ends, ends[1:], strict=False)
    }


def image_data(
    collection: Collection,
    *,
    seed: int,
    validation_share: float,
    test_share: float,
    scans: Path | None,
) -> ImageData:
    """Look at all images, leave out what cannot be read, and make the three parts.

    A collection of one part is split in three. Where it has two, what is not for training is the
    test part, and the validation part is taken from the training images.

    Raises:
        ValueError: no image, a class without images, fewer than two classes, a share out of range,
            images that are all the same, or one that the system does not hand over.
    """
    check_shares(validation_share=validation_share, test_share=test_share)
    _check_classes(collection)
    scan = kept_scan(collection.source, len(collection.labels), collection.title, scans)
    readable = {part: rows[scan.readable[rows]] for part, rows in collection.parts.items()}
    _check_parts(collection, scan, readable)
    rows = _in_three(collection, readable, scan, seed, validation_share, test_share)
    _check_split(collection, rows)
    preprocessing = _preprocessing(collection, scan, rows[Part.TRAIN])
    splits = _splits(collection, scan, rows, preprocessing)
    return ImageData(
        name=collection.name,
        train=splits[Part.TRAIN],
        validation=splits[Part.VALIDATION],
        test=splits[Part.TEST],
        class_names=collection.class_names,
        preprocessing=preprocessing,
        notes=(*collection.notes, *_notes(collection, scan, rows)),
    )


def _check_classes(collection: Collection) -> None:
    if not len(collection.labels):
        raise ValueError(f"{collection.title} holds no images")
    if len(collection.class_names) < 2:
        raise ValueError(
            f"{collection.title} has the single class {collection.class_names[0]!r}; there must be "
            "at least two to tell apart"
        )


def _check_parts(collection: Collection, scan: Scan, readable: dict[Part, Rows]) -> None:
    """Every class has readable images in every part, and where it is split enough of them."""
    for part, rows in readable.items():
        counts = np.bincount(collection.labels[rows], minlength=len(collection.class_names))
        splits = len(readable) == 1 or (len(readable) == 2 and part is Part.TRAIN)
        least = LEAST_IMAGES if splits else 1
        if counts.min() < least:
            few = collection.class_names[int(np.argmin(counts))]
            where = "" if len(readable) == 1 else f" in its {part} part"
            why = "".join(f"; {note}" for note in _skipped(collection, scan))
            raise ValueError(
                f"{collection.title} has {counts.min()} images of the class {few!r}{where} that "
                f"can be read, but needs at least {least}; add some, or take the class away{why}"
            )


def _in_three(
    collection: Collection,
    readable: dict[Part, Rows],
    scan: Scan,
    seed: int,
    validation_share: float,
    test_share: float,
) -> dict[Part, Rows]:
    if len(readable) == 3:
        return readable
    held_out = [part for part in readable if part is not Part.TRAIN]
    ours = readable[Part.TRAIN]
    shares = [validation_share] if held_out else [validation_share, test_share]
    divided = divide(collection.labels[ours], scan.digests[ours], seed=seed, shares=shares)
    validation, *test, train = (ours[rows] for rows in divided)
    return {
        Part.TRAIN: train,
        Part.VALIDATION: validation,
        Part.TEST: readable[held_out[0]] if held_out else test[0],
    }


def _check_split(collection: Collection, rows: dict[Part, Rows]) -> None:
    """Copies of an image stay together; there may be too few others."""
    for part, numbers in rows.items():
        counts = np.bincount(collection.labels[numbers], minlength=len(collection.class_names))
        if not counts.min():
            few = collection.class_names[int(np.argmin(counts))]
            raise ValueError(
                f"{collection.title} has too few different images of the class {few!r} for a "
                f"{part} part, for copies of an image stay together; add some"
            )


def _preprocessing(collection: Collection, scan: Scan, train: Rows) -> Preprocessing:
    mean = scan.means[train].mean(0, dtype=np.float64)
    variance = scan.squares[train].mean(0, dtype=np.float64) - mean**2
    std = np.sqrt(np.maximum(variance, 0))
    if std.max() < 1e-3:
        raise ValueError(
            f"all pixels of the training images of {collection.title} are alike; there is nothing "
            "to learn"
        )
    small = scan.sizes[train].max() <= _SMALL_SIDE
    return Preprocessing(
        mean=tuple(mean.round(4).tolist()),
        # A channel that is the same everywhere has nothing to be divided by.
        std=tuple(np.where(std < 1e-3, 1.0, std).round(4).tolist()),
        crop=1.0 if small else _CROP_OF_PHOTOS,
    )


def _splits(
    collection: Collection, scan: Scan, rows: dict[Part, Rows], preprocessing: Preprocessing
) -> dict[Part, Split]:
    sizes = scan.sizes[np.concatenate(list(rows.values()))]
    small = sizes.max() <= _SMALL_SIDE and (sizes == sizes[0]).all()
    if small and 3 * int(sizes.prod(1).sum()) <= _SMALL_BYTES:
        return {
            part: MemorySplit(
                images=_decoded(collection.source, numbers, *sizes[0].tolist()),
                labels=torch.from_numpy(collection.labels[numbers]),
                preprocessing=preprocessing,
            )
            for part, numbers in rows.items()
        }
    return {
        part: LazySplit(
            source=collection.source,
            rows=torch.from_numpy(numbers),
            labels=torch.from_numpy(collection.labels[numbers]),
            preprocessing=preprocessing,
        )
        for part, numbers in rows.items()
    }


def _decoded(source: ImageSource, rows: Rows, width: int, height: int) -> torch.Tensor:
    """``(N, 3, H, W)``, bytes."""
    images = np.empty((len(rows), height, width, 3), np.uint8)
    for place, row in enumerate(rows.tolist()):
        images[place] = np.asarray(upright_rgb(source.open(row)))
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _notes(collection: Collection, scan: Scan, rows: dict[Part, Rows]) -> Iterator[str]:
    """What a person should know of the data set."""
    yield from _skipped(collection, scan)
    learnt = np.concatenate([scan.digests[rows[Part.TRAIN]], scan.digests[rows[Part.VALIDATION]]])
    twice = rows[Part.TEST][np.isin(scan.digests[rows[Part.TEST]], learnt)]
    if len(twice):
        yield (
            f"{len(twice):,} of {len(rows[Part.TEST]):,} test images of {collection.title} "
            f"are among those that are trained or chosen on, too: {_some(collection, twice)}"
        )


def _skipped(collection: Collection, scan: Scan) -> Iterator[str]:
    unreadable = np.flatnonzero(~scan.readable)
    if len(unreadable):
        yield (
            f"{len(unreadable):,} of {len(scan.readable):,} images of {collection.title} cannot be "
            f"read and are skipped: {_some(collection, unreadable)}; the first: {scan.reason}"
        )


def _some(collection: Collection, rows: Sequence[int] | NDArray[np.int64]) -> str:
    names = ", ".join(collection.source.name(int(row)) for row in islice(rows, _NAMED))
    return names + (", …" if len(rows) > _NAMED else "")
