"""How training images are varied: settings, and what is cut out of an image."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.checks import check_fields

_TRIES = 10
_LEAST_RATIO, _MOST_RATIO = 3 / 4, 4 / 3

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is done to training images, in this order; by itself nothing.

    Attributes:
        crop: the least share of an image's area that is cut out and resized, in 0.01..1, of an
            aspect of 3/4 to 4/3 (Szegedy et al., 2015, section 6); ``None``: the cut of validation.
        shift: by up to how much of its side an image is moved, each way; what comes in repeats
            the edge. 0.125 are four pixels of 32.
        flip: whether every other image is mirrored, left to right.
        rand_augment: two operations an image, of this magnitude in 0..10 (Cubuk et al., 2020);
            ``None``: none.
        colour: by up to how much brightness, contrast and saturation change: factors in
            1 - colour..1 + colour.
        erase: the share of images that lose a rectangle (Zhong et al., 2020), in 0..1.
    """

    crop: float | None = None
    shift: float = 0.0
    flip: bool = False
    rand_augment: float | None = None
    colour: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.crop is not None:
            check_fields(self, 0.01, 1, "crop")
        check_fields(self, 0, 0.5, "shift")
        if not isinstance(self.flip, bool):
            raise ValueError(f"Augmentation.flip must be true or false, but got {self.flip!r:.80}")
        if self.rand_augment is not None:
            check_fields(self, 0, 10, "rand_augment")
        check_fields(self, 0, 1, "colour", "erase")


def crop_draws(number: int, draws: np.random.Generator) -> NDArray[np.float64]:
    """What decides the crops of so many images, whatever their sizes: ``(N, tries + 1, 2)``."""
    return draws.random((number, _TRIES + 1, 2))


def crop_box(width: int, height: int, least: float, drawn: NDArray[np.float64]) -> Box:
    """The part of an image that one row of ``crop_draws`` cuts out.

    An area in ``least``..1 of the image's and the logarithm of an aspect are drawn evenly until the
    box fits; if none does, it is the largest box in the middle that is not too wide or too high.
    """
    low, high = math.log(_LEAST_RATIO), math.log(_MOST_RATIO)
    place, tries = drawn[0], drawn[1:]
    areas = (least + (1 - least) * tries[:, 0]) * width * height
    ratios = np.exp(low + (high - low) * tries[:, 1])
    widths, heights = np.sqrt(areas * ratios), np.sqrt(areas / ratios)
    fitting = np.flatnonzero((widths <= width) & (heights <= height))
    if len(fitting):
        box_width, box_height = float(widths[fitting[0]]), float(heights[fitting[0]])
        left = float(place[0]) * (width - box_width)
        top = float(place[1]) * (height - box_height)
    else:
        box_width = min(width, height * _MOST_RATIO)
        box_height = min(height, width / _LEAST_RATIO)
        left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height
