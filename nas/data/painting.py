"""Variations of a single image, by pillow: RandAugment, and other colours.

Pillow's operations on bytes take a quarter to a tenth of the time of the same ones on batches of
floats (kornia's were tried), do most of it without Python's lock, and so run in the threads that
decode. What they do to an image is drawn for the whole batch before.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from nas.data.augmentation import Augmentation

OPERATIONS_AN_IMAGE = 2
STRONGEST = 10.0
"""The magnitude at which an operation goes as far as it can."""

_MOST_DEGREES, _MOST_SHEAR, _MOST_TRANSLATION = 30.0, 0.3, 0.3
_MOST_FACTOR, _MOST_BITS_LOST = 0.9, 4
_GREY = (128, 128, 128)
"""What comes in where an image is moved."""

Operation = Callable[[Image.Image, float], Image.Image]
"""An image, and how far to go, in -1..1; where there is but one direction the sign is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """What is done to one image.

    Attributes:
        operations: names in ``OPERATIONS``, each with how far it goes.
        factors: of brightness, contrast and saturation, or none.
    """

    operations: tuple[tuple[str, float], ...]
    factors: tuple[float, ...]


def draw_paints(number: int, settings: Augmentation, draws: np.random.Generator) -> list[Paint]:
    """What is done to each of so many images."""
    operations: list[tuple[tuple[str, float], ...]] = [()] * number
    factors: list[tuple[float, ...]] = [()] * number
    if settings.rand_augment is not None:
        names, amount = list(OPERATIONS), settings.rand_augment / STRONGEST
        drawn = draws.integers(len(names), size=(number, OPERATIONS_AN_IMAGE)).tolist()
        signs = draws.choice((-1, 1), size=(number, OPERATIONS_AN_IMAGE)).tolist()
        operations = [
            tuple((names[one], sign * amount) for one, sign in zip(row, row_signs, strict=True))
            for row, row_signs in zip(drawn, signs, strict=True)
        ]
    if settings.colour:
        low, high = 1 - settings.colour, 1 + settings.colour
        factors = [tuple(row) for row in draws.uniform(low, high, (number, 3)).tolist()]
    return [
        Paint(operations=each, factors=its_factors)
        for each, its_factors in zip(operations, factors, strict=True)
    ]


def paint(image: Image.Image, what: Paint) -> Image.Image:
    """The image, red, green and blue, after all that was drawn for it."""
    for name, amount in what.operations:
        image = OPERATIONS[name](image, amount)
    for enhancer, factor in zip(_ENHANCERS, what.factors, strict=False):
        image = enhancer(image).enhance(factor)
    return image


def _posterise(image: Image.Image, amount: float) -> Image.Image:
    return ImageOps.posterize(image, 8 - round(_MOST_BITS_LOST * abs(amount)))


def _solarise(image: Image.Image, amount: float) -> Image.Image:
    return ImageOps.solarize(image, round(256 * (1 - abs(amount))))


def _enhance(enhancer: Callable[[Image.Image], ImageEnhance._Enhance]) -> Operation:
    return lambda image, amount: enhancer(image).enhance(1 + _MOST_FACTOR * amount)


def _rotate(image: Image.Image, amount: float) -> Image.Image:
    angle = math.radians(_MOST_DEGREES * amount)
    return _moved(image, math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle))


def _moved(
    image: Image.Image,
    a: float = 1,
    b: float = 0,
    c: float = 0,
    d: float = 1,
    right: float = 0,
    down: float = 0,
) -> Image.Image:
    """The point (x, y) from the middle shows what was at (ax + by - right, cx + dy - down)."""
    x, y = image.width / 2, image.height / 2
    matrix = (
        a, b, x - a * x - b * y - right * image.width,
        c, d, y - c * x - d * y - down * image.height,
    )  # fmt: skip
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=_GREY
    )


_ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)

OPERATIONS: dict[str, Operation] = {
    "identity": lambda image, _: image,
    "auto_contrast": lambda image, _: ImageOps.autocontrast(image),
    "equalise": lambda image, _: ImageOps.equalize(image),
    "posterise": _posterise,
    "solarise": _solarise,
    "colour": _enhance(ImageEnhance.Color),
    "contrast": _enhance(ImageEnhance.Contrast),
    "brightness": _enhance(ImageEnhance.Brightness),
    "sharpness": _enhance(ImageEnhance.Sharpness),
    "rotate": _rotate,
    "shear_x": lambda image, amount: _moved(image, b=_MOST_SHEAR * amount),
    "shear_y": lambda image, amount: _moved(image, c=_MOST_SHEAR * amount),
    "translate_x": lambda image, amount: _moved(image, right=_MOST_TRANSLATION * amount),
    "translate_y": lambda image, amount: _moved(image, down=_MOST_TRANSLATION * amount),
}
"""The paper's fourteen (figure 2)."""
