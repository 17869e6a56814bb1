"""Images with labels from parquet files, as Hugging Face's ``datasets`` writes them.

A file has the columns ``image``, encoded images (as bytes, or with them under ``bytes``), and
``label``, integers from 0. Without files it is the embedded digits.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from nas.data import MemorySplit, Preprocessing, SearchData, Split
from nas.data.digits import digits_data

VALIDATION_SHARE, TEST_SHARE = 0.3, 0.01
"""Of the digits."""


def images_of(train: str | None, validation: str | None) -> SearchData:
    """The images of both files, normalised by the mean and deviation of the first.

    Raises:
        ValueError: one file is given without the other, or a file cannot be read or used.
    """
    if train is None and validation is None:
        digits = digits_data(validation_share=VALIDATION_SHARE, test_share=TEST_SHARE)
        return digits.for_search()
    if train is None or validation is None:
        raise ValueError("--train and --validation go together: give both files, or neither")
    images, labels = read_parquet(Path(train))
    others, other_labels = read_parquet(Path(validation))
    if images.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"{train} and {validation} must hold images of the same size, but theirs are "
            f"{images.shape[2:]} and {others.shape[2:]}"
        )
    num_classes = int(labels.max()) + 1
    if num_classes < 2 or other_labels.max() >= num_classes:
        raise ValueError(
            f"labels of {validation} must be among those of {train}, which has {num_classes} "
            f"classes of at least 2, but go up to {other_labels.max()}"
        )
    mean, deviation = float(images.mean()) / 255, float(images.std()) / 255
    if deviation == 0:
        raise ValueError(f"all pixels of {train} are {255 * mean:g}; there is nothing to learn")
    preprocessing = Preprocessing(mean=(mean,) * 3, std=(deviation,) * 3)

    def part(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Split:
        return MemorySplit(
            images=torch.from_numpy(images),
            labels=torch.from_numpy(labels),
            preprocessing=preprocessing,
        )

    return SearchData(
        train=part(images, labels),
        validation=part(others, other_labels),
        num_classes=num_classes,
    )


def read_parquet(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images ``(N, 3, H, W)`` and labels ``(N,)`` of a file.

    Raises:
        ValueError: it cannot be read, or its columns or images are not as they must be.
    """
    try:
        rows = pd.read_parquet(path)
    except ImportError:
        raise ValueError(
            "to read parquet files, pyarrow must be installed; the extra 'pruning' brings it"
        ) from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as parquet: {' '.join(str(error).split())}"
        ) from None
    if not {"image", "label"} <= set(rows.columns) or rows.empty:
        raise ValueError(
            f"{path} must have rows with the columns image and label, but has {len(rows)} rows "
            f"with {', '.join(map(str, rows.columns))}"
        )
    images = [_decoded(path, number, value) for number, value in enumerate(rows["image"])]
    if len({image.shape for image in images}) > 1:
        raise ValueError(f"the images of {path} must all have the same size")
    labels = rows["label"].to_numpy()
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise ValueError(f"the labels of {path} must be integers from 0, but are not")
    return np.stack(images), labels.astype(np.int64)


def _decoded(path: Path, number: int, value: Any) -> NDArray[np.uint8]:
    """``(3, H, W)``, pixels in 0..255."""
    content: Any = value.get("bytes") if isinstance(value, dict) else value
    try:
        image = Image.open(io.BytesIO(content)).convert("RGB")
    except (TypeError, UnidentifiedImageError, OSError):
        raise ValueError(f"row {number} of {path} holds no image that can be decoded") from None
    return np.asarray(image).transpose(2, 0, 1)
