"""The example of docs/my-data.md: a data set of torch's, of images and labels in numpy files."""

from pathlib import Path

import numpy as np
from torch.utils.data import Dataset


class Pets(Dataset[tuple[np.ndarray, int]]):
    classes = ("cat", "dog")

    def __init__(self, folder: str) -> None:
        self._images = np.load(Path(folder) / "images.npy", mmap_mode="r")  # (N, H, W, 3), bytes
        self._labels = np.load(Path(folder) / "labels.npy")

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self._images[index], int(self._labels[index])
