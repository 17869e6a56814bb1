"""What is done to an image before a network sees it; a network that is handed over carries it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nas.checks import check_range

CHANNELS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How pixels become a network's input.

    An image with pixels in 0..1, red, green and blue, is resized (bilinear, antialiased) so that
    its shorter side has ``resolution / crop`` pixels, cut to the ``resolution`` by ``resolution``
    pixels in its middle, and normalised: ``(pixel - mean) / std`` by channel.

    Attributes:
        mean, std: a number a channel, of pixels in 0..1.
        crop: the share of the shorter side that is kept, in 0.1..1.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float = 1.0

    def __post_init__(self) -> None:
        for field, low in (("mean", 0.0), ("std", 1e-6)):
            values = getattr(self, field)
            if len(values) != CHANNELS:
                raise ValueError(f"{field} must be {CHANNELS} numbers, but got {values!r:.80}")
            for value in values:
                check_range(field, value, low, 1)
        check_range("crop", self.crop, 0.1, 1)

    def normalise(self, images: Tensor) -> Tensor:
        """Images ``(N, 3, H, W)``, bytes or numbers in 0..1, as a network's input, channels last.

        It is done in rows of ``W`` pixels with their channels beside each other: a loop over three
        channels at a time takes several times as long.
        """
        pixels = images.permute(0, 2, 3, 1).contiguous()
        number, height, width, channels = pixels.shape
        are_bytes = not images.dtype.is_floating_point
        if not are_bytes and self.mean == AS_THEY_ARE.mean and self.std == AS_THEY_ARE.std:
            return pixels.permute(0, 3, 1, 2)
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (self.mean, self.std))
        scale, offset = (
            each.to(images.device, torch.float32).repeat(width)
            for each in (1 / (std * (255 if are_bytes else 1)), -mean / std)
        )
        rows = pixels.view(number * height, width * channels).float()
        normalised = torch.addcmul(offset, rows, scale)
        return normalised.view(number, height, width, channels).permute(0, 3, 1, 2)

    def as_dict(self) -> dict[str, list[float] | float]:
        """As plain data."""
        return {"mean": list(self.mean), "std": list(self.std), "crop": self.crop}

    def resized(self, resolution: int) -> int:
        """How many pixels the shorter side has before the cut."""
        return round(resolution / self.crop)

    def resized_size(self, width: int, height: int, resolution: int) -> tuple[int, int]:
        """Width and height that an image is resized to, before the cut."""
        shorter, resized = min(width, height), self.resized(resolution)
        return round(width * resized / shorter), round(height * resized / shorter)

    def box(self, width: int, height: int, resolution: int) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of what the cut leaves, in pixels of the image.

        Resizing this box alone gives the pixels that resizing the image and cutting it gives.
        """
        resized = self.resized_size(width, height, resolution)
        left, top = ((side - resolution) // 2 for side in resized)
        across, down = width / resized[0], height / resized[1]
        return left * across, top * down, (left + resolution) * across, (top + resolution) * down


AS_THEY_ARE = Preprocessing(mean=(0.0,) * CHANNELS, std=(1.0,) * CHANNELS)
"""For images that are a network's input already."""
