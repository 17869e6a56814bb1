"""Resizing batches in memory, as pillow's bilinear filter resizes single images."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nas.data.cropping import Box


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Whole images ``(N, C, H, W)``, bilinear, antialiased where they become smaller."""
    if images.shape[2:] == (height, width):
        return images
    smaller = height < images.shape[2] or width < images.shape[3]
    return functional.interpolate(images, size=(height, width), mode="bilinear", antialias=smaller)


def resize_boxes(images: Tensor, boxes: Sequence[Box], resolution: int) -> Tensor:
    """A box of each image ``(N, C, H, W)``, resized to ``(N, C, resolution, resolution)``.

    A triangle of weights around each new pixel, as wide as the pixel where that is wider than the
    image's: two products of matrices, of all images at once.
    """
    left, top, right, bottom = torch.tensor(boxes, dtype=torch.float32).unbind(1)
    rows = _weights(top, bottom, images.shape[2], resolution)
    columns = _weights(left, right, images.shape[3], resolution)
    return rows[:, None] @ images @ columns[:, None].transpose(2, 3)


def _weights(starts: Tensor, ends: Tensor, pixels: int, resolution: int) -> Tensor:
    """What each of ``pixels`` adds to each new one: ``(N, resolution, pixels)``."""
    scale = ((ends - starts) / resolution)[:, None]
    centres = starts[:, None] + (torch.arange(resolution) + 0.5) * scale
    distances = (torch.arange(pixels) + 0.5 - centres[..., None]).abs()
    weights = (1 - distances / scale.clamp(min=1)[..., None]).clamp(min=0)
    return weights / weights.sum(2, keepdim=True)
