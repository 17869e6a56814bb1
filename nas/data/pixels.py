"""Variations of a batch of images that are resized, not yet normalised: pixels in 0..1.

What happens to an image is drawn here and handed to kornia's functions: its own random modules draw
from torch's global generator, which a training's dropout uses at the same time.
"""

import math

import numpy as np
import torch
from kornia import enhance
from numpy.typing import NDArray
from torch import Tensor

from nas.data.augmentation import Augmentation
from nas.data.rand_augment import rand_augment

_LEAST_ERASED, _MOST_ERASED = 0.02, 1 / 3
_LONGEST_ASPECT = 3.3


def augment_pixels(images: Tensor, settings: Augmentation, draws: np.random.Generator) -> Tensor:
    """All that the settings ask for but the crop; images ``(N, 3, H, W)``, square."""
    number = len(images)
    if settings.shift:
        images = shifted(images, draws.uniform(-settings.shift, settings.shift, (2, number)))
    if settings.flip:
        mirrored = torch.from_numpy(draws.random(number) < 0.5)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if settings.rand_augment is not None:
        images = rand_augment(images, settings.rand_augment, draws)
    if settings.colour:
        images = _with_other_colours(images, settings.colour, draws)
    if settings.erase:
        images = _erased(images, settings.erase, draws)
    return images


def shifted(images: Tensor, shares: NDArray[np.float64]) -> Tensor:
    """Images moved right and down by whole pixels; ``shares`` of their side, ``(2, N)``."""
    side = images.shape[-1]
    pixels = torch.from_numpy(np.rint(shares * side)).long()
    columns, rows = ((torch.arange(side) - by[:, None]).clamp(0, side - 1) for by in pixels)
    numbers = torch.arange(len(images))[:, None, None]
    return images.permute(0, 2, 3, 1)[numbers, rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )


def _with_other_colours(images: Tensor, strength: float, draws: np.random.Generator) -> Tensor:
    factors = draws.uniform(1 - strength, 1 + strength, (3, len(images))).astype(np.float32)
    brightness, contrast, saturation = torch.from_numpy(factors)
    images = enhance.adjust_brightness_accumulative(images, brightness)
    images = enhance.adjust_contrast_with_mean_subtraction(images, contrast)
    return enhance.adjust_saturation_with_gray_subtraction(images, saturation)


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
        colour = images[index].mean((1, 2))[:, None, None]
        erased[index, :, top : top + height, left : left + width] = colour
    return erased
