"""The embedded data set: 1,797 real 8×8 images of handwritten digits, installed with scikit-learn.

UCI's Optical Recognition of Handwritten Digits (Alpaydin and Kaynak, 1998).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nas.data.dataset import ImageData, Split


def digits_data(
    *, seed: int = 0, validation_share: float = 0.2, test_share: float = 0.2
) -> ImageData:
    """The digits as three-channel images, split by ``seed`` with equal class shares.

    Raises:
        ValueError: the shares leave nothing to train on.
    """
    for field, share in (("validation_share", validation_share), ("test_share", test_share)):
        if not 0.01 <= share <= 0.45:
            raise ValueError(f"data.{field} must be in 0.01..0.45, but got {share!r}")
    digits = load_digits()
    pixels = digits.images.astype(np.float32) / 16.0
    labels = digits.target.astype(np.int64)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=test_share, stratify=labels, random_state=seed
    )
    train, validation = train_test_split(
        rest,
        test_size=validation_share / (1 - test_share),
        stratify=labels[rest],
        random_state=seed,
    )
    mean, std = float(pixels[train].mean()), float(pixels[train].std())

    def split(indices: NDArray[np.int64]) -> Split:
        images = torch.from_numpy((pixels[indices] - mean) / std)
        return Split(
            images=images[:, None].repeat(1, 3, 1, 1), labels=torch.from_numpy(labels[indices])
        )

    return ImageData(
        name="digits",
        train=split(train),
        validation=split(validation),
        test=split(test),
        class_names=tuple(str(digit) for digit in range(10)),
        mean=mean,
        std=std,
    )
