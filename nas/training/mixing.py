"""Mixup and CutMix: images of a batch mixed in pairs, and their labels with them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mixed:
    """Images ``(N, C, H, W)``, and the two classes ``(N,)`` that each shows.

    Attributes:
        share: of the first label, for all images alike, in 0..1.
    """

    images: Tensor
    labels: Tensor
    others: Tensor
    share: float

    def targets(self, num_classes: int) -> Tensor:
        """The labels as probabilities ``(N, num_classes)``; each row sums to 1."""
        first, second = (
            functional.one_hot(each, num_classes).float() for each in (self.labels, self.others)
        )
        return self.share * first + (1 - self.share) * second

    def parts(self, number: int) -> list["Mixed"]:
        """The batch in parts, of which the last may be smaller."""
        pieces = (each.chunk(number) for each in (self.images, self.labels, self.others))
        return [
            Mixed(images=images, labels=labels, others=others, share=self.share)
            for images, labels, others in zip(*pieces, strict=True)
        ]


def mix(
    images: Tensor, labels: Tensor, *, mixup: float, cutmix: float, generator: np.random.Generator
) -> Mixed:
    """Mix each image with the one that stands as far from the other end of the batch.

    Args:
        images: ``(N, C, H, W)``.
        labels: ``(N,)``.
        mixup: α: images are added, with shares λ and 1 − λ, where λ ~ Beta(α, α) (Zhang et al.,
            2018, section 2).
        cutmix: α: a rectangle of 1 − λ of the area is from the other image (Yun et al., 2019,
            section 3.1). Where both are above 0, one is taken, either as often.
        generator: of all that is random.
    """
    if not mixup and not cutmix:
        return Mixed(images=images, labels=labels, others=labels, share=1.0)
    cuts = bool(cutmix) and (not mixup or generator.random() < 0.5)
    alpha = cutmix if cuts else mixup
    share = float(generator.beta(alpha, alpha))
    others = images.flip(0)
    if not cuts:
        mixed = torch.lerp(others, images, share)
        return Mixed(images=mixed, labels=labels, others=labels.flip(0), share=share)
    rows, columns = _rectangle(images.shape[2], images.shape[3], 1 - share, generator)
    mixed = images.clone()
    mixed[:, :, rows, columns] = others[:, :, rows, columns]
    cut = (rows.stop - rows.start) * (columns.stop - columns.start)
    share = 1 - cut / (images.shape[2] * images.shape[3])
    return Mixed(images=mixed, labels=labels, others=labels.flip(0), share=share)


def _rectangle(
    height: int, width: int, area: float, generator: np.random.Generator
) -> tuple[slice, slice]:
    """A rectangle of that share of the area around any pixel; what is outside is cut off."""
    sides = []
    for size in (height, width):
        half = size * math.sqrt(area) / 2
        middle = int(generator.integers(size))
        sides.append(slice(max(0, round(middle - half)), min(size, round(middle + half))))
    return sides[0], sides[1]
