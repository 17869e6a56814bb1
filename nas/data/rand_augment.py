"""RandAugment (Cubuk et al., 2020): two random operations an image, of one magnitude."""

import math
from enum import StrEnum

import numpy as np
import torch
from kornia import enhance
from kornia.geometry.transform import warp_affine
from torch import Tensor

OPERATIONS_AN_IMAGE = 2
STRONGEST = 10.0
"""The magnitude at which an operation goes as far as it can."""


class Operation(StrEnum):
    """The paper's fourteen (figure 2)."""

    IDENTITY = "identity"
    AUTO_CONTRAST = "auto_contrast"
    EQUALISE = "equalise"
    POSTERISE = "posterise"
    SOLARISE = "solarise"
    COLOUR = "colour"
    CONTRAST = "contrast"
    BRIGHTNESS = "brightness"
    SHARPNESS = "sharpness"
    ROTATE = "rotate"
    SHEAR_X = "shear_x"
    SHEAR_Y = "shear_y"
    TRANSLATE_X = "translate_x"
    TRANSLATE_Y = "translate_y"


_MOST_DEGREES, _MOST_SHEAR, _MOST_TRANSLATION = 30.0, 0.3, 0.3
_MOST_FACTOR, _MOST_BITS_LOST = 0.9, 4
_GREY = 0.5
"""What comes in where an image is moved."""


def rand_augment(images: Tensor, magnitude: float, draws: np.random.Generator) -> Tensor:
    """Images ``(N, 3, H, W)`` with pixels in 0..1, each after two operations of its own."""
    operations = list(Operation)
    drawn = draws.integers(len(operations), size=(OPERATIONS_AN_IMAGE, len(images)))
    signs = draws.choice((-1.0, 1.0), size=drawn.shape).astype(np.float32)
    images = images.clone(memory_format=torch.contiguous_format)
    for row, row_signs in zip(drawn, signs, strict=True):
        for number, operation in enumerate(operations):
            chosen = torch.from_numpy(np.flatnonzero(row == number))
            if len(chosen) and operation is not Operation.IDENTITY:
                amounts = magnitude / STRONGEST * torch.from_numpy(row_signs)[chosen]
                images[chosen] = operate(operation, images[chosen], amounts)
    return images


def operate(operation: Operation, images: Tensor, amounts: Tensor) -> Tensor:
    """Images after an operation that goes so far, ``(N,)`` in -1..1; some look at the sign."""
    match operation:
        case Operation.IDENTITY:
            return images
        case Operation.AUTO_CONTRAST:
            low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
            return torch.where(high > low, (images - low) / (high - low).clamp(min=1e-6), images)
        case Operation.EQUALISE:
            return enhance.equalize(images)
        case Operation.POSTERISE:
            return enhance.posterize(images, 8 - (_MOST_BITS_LOST * amounts.abs()).round().int())
        case Operation.SOLARISE:
            return enhance.solarize(images, 1 - amounts.abs())
        case Operation.COLOUR:
            return enhance.adjust_saturation_with_gray_subtraction(images, _factors(amounts))
        case Operation.CONTRAST:
            return enhance.adjust_contrast_with_mean_subtraction(images, _factors(amounts))
        case Operation.BRIGHTNESS:
            return enhance.adjust_brightness_accumulative(images, _factors(amounts))
        case Operation.SHARPNESS:
            return enhance.sharpness(images, _factors(amounts))
        case _:
            return _moved(operation, images, amounts)


def _factors(amounts: Tensor) -> Tensor:
    return 1 + _MOST_FACTOR * amounts


def _moved(operation: Operation, images: Tensor, amounts: Tensor) -> Tensor:
    """Rotated or sheared about the middle, or translated; grey comes in."""
    number, side = len(images), images.shape[-1]
    linear = torch.eye(2).repeat(number, 1, 1)
    moved = torch.zeros(number, 2)
    match operation:
        case Operation.ROTATE:
            angles = math.radians(_MOST_DEGREES) * amounts
            cosines, sines = angles.cos(), angles.sin()
            linear = torch.stack([cosines, -sines, sines, cosines], 1).view(number, 2, 2)
        case Operation.SHEAR_X:
            linear[:, 0, 1] = _MOST_SHEAR * amounts
        case Operation.SHEAR_Y:
            linear[:, 1, 0] = _MOST_SHEAR * amounts
        case Operation.TRANSLATE_X:
            moved[:, 0] = _MOST_TRANSLATION * side * amounts
        case Operation.TRANSLATE_Y:
            moved[:, 1] = _MOST_TRANSLATION * side * amounts
        case _:
            raise AssertionError(operation)
    middle = torch.full((2,), (side - 1) / 2)
    matrices = torch.cat([linear, (moved + middle - linear @ middle)[..., None]], 2)
    grey = torch.full((3,), _GREY)
    return warp_affine(images, matrices, (side, side), padding_mode="fill", fill_value=grey)
