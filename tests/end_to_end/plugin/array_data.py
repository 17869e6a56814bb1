"""The example of docs/my-data.md: images and labels as numpy files."""

from pathlib import Path

import numpy as np

from nas.data import ImageData, split_images


def array_data(*, folder: str, seed: int) -> ImageData:
    images = np.load(Path(folder) / "images.npy")  # (N, H, W, 3), bytes
    labels = np.load(Path(folder) / "labels.npy")  # (N,), 0 for the first class
    return split_images(
        "pets",
        images.transpose(0, 3, 1, 2),
        labels,
        ["cat", "dog"],
        seed=seed,
    )
