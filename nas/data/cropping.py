"""What a random crop cuts out of an image."""

import math

import numpy as np
from numpy.typing import NDArray

_TRIES = 10
_LEAST_RATIO, _MOST_RATIO = 3 / 4, 4 / 3

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of an image."""


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
