"""Variations of a whole batch: images moved, mirrored, and with a part erased."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.data.augmentation import Augmentation

_LEAST_ERASED, _MOST_ERASED = 0.02, 1 / 3
_LONGEST_ASPECT = 3.3


def move(images: Tensor, settings: Augmentation, draws: np.random.Generator) -> Tensor:
    """Square images ``(N, 3, H, W)``, bytes or numbers, shifted, flipped and partly erased."""
    number = len(images)
    if settings.shift:
        images = shifted(images, draws.uniform(-settings.shift, settings.shift, (2, number)))
    if settings.flip:
        mirrored = torch.from_numpy(draws.random(number) < 0.5)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    return _erased(images, settings.erase, draws) if settings.erase else images


def shifted(images: Tensor, shares: NDArray[np.float64]) -> Tensor:
    """Images moved right and down by whole pixels; ``shares`` of their side, ``(2, N)``."""
    side = images.shape[-1]
    pixels = torch.from_numpy(np.rint(shares * side)).long()
    columns, rows = ((torch.arange(side) - by[:, None]).clamp(0, side - 1) for by in pixels)
    numbers = torch.arange(len(images))[:, None, None]
    moved = images.permute(0, 2, 3, 1)[numbers, rows[:, :, None], columns[:, None]]
    return moved.permute(0, 3, 1, 2)


def _erased(images: Tensor, share: float, draws: np.random.Generator) -> Tensor:
    """Some images with a rectangle in their own mean colour."""
    number, side = len(images), images.shape[-1]
    chosen = draws.random(number) < share
    areas = draws.uniform(_LEAST_ERASED, _MOST_ERASED, number)
    longest = math.log(_LONGEST_ASPECT)
    aspects = np.exp(draws.uniform(-longest, longest, number))
    places = draws.random((2, number))
    erased = images.clone()
    for index in np.flatnonzero(chosen):
        height, width = (
            max(1, min(side, round(side * math.sqrt(areas[index] * aspect))))
            for aspect in (aspects[index], 1 / aspects[index])
        )
        top = int(places[0, index] * (side - height + 1))
        left = int(places[1, index] * (side - width + 1))
        # Numpy's: torch would wake a thread a core for each image.
        colour = torch.from_numpy(images[index].numpy().mean((1, 2))).to(images.dtype)
        erased[index, :, top : top + height, left : left + width] = colour[:, None, None]
    return erased
