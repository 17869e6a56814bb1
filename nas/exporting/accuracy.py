"""What files answer to images of a data set."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latency.console import Update
from nas.data import Preprocessing, Split
from nas.exporting.onnx_file import ExportError, Runner

BATCH = 32
MAX_PROBABILITY_DIFFERENCE = 1e-4
_ROUNDING = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """The classes that a file gives images, and those that they have."""

    given: NDArray[np.int64]
    right: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        return float((self.given == self.right).mean())

    def agreement(self, other: "Answers") -> float:
        """The share of images that both files give the same class."""
        return float((self.given == other.given).mean())


def answers(runner: Runner, split: Split, resolution: int, update: Update) -> Answers:
    """Run a file on all images of a part."""
    given: list[NDArray[np.int64]] = []
    right: list[NDArray[np.int64]] = []
    done = 0
    for images, labels in split.batches(BATCH, resolution):
        given.append(runner(images).argmax(1))
        right.append(labels.numpy())
        done += len(labels)
        update(done, len(split))
    return Answers(given=np.concatenate(given), right=np.concatenate(right))


def probability_difference(
    runner: Runner, within: Runner, preprocessing: Preprocessing, images: Tensor
) -> float:
    """How far a file that prepares images itself is from the one that it was made of.

    Args:
        runner: of logits.
        within: of probabilities of pixels.
        images: normalised, ``(N, 3, H, W)``; the pixels nearest to them are compared.

    Raises:
        ExportError: probabilities differ by more than 1e-4.
        ValueError: the images were made of something else than pixels in 0..1.
    """
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    shades = images * std + mean
    if shades.min() < -_ROUNDING or shades.max() > 1 + _ROUNDING:
        raise ValueError(
            f"--with-preprocessing needs images of pixels in 0..1, but these are of "
            f"{shades.min():.3g}..{shades.max():.3g}: how the data set made them is not known, and "
            "cannot be put into the graph"
        )
    pixels = (shades * 255).round().clamp(0, 255).byte()
    logits = torch.from_numpy(runner(preprocessing.normalise(pixels.float() / 255)))
    expected = logits.softmax(1).numpy()
    difference = float(np.abs(within(pixels.permute(0, 2, 3, 1)) - expected).max())
    if not difference <= MAX_PROBABILITY_DIFFERENCE:
        raise ExportError(
            f"with preprocessing in the graph probabilities differ by {difference:.2g}, more than "
            f"{MAX_PROBABILITY_DIFFERENCE}"
        )
    return difference
