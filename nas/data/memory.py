"""Images that are kept in memory, all of one size."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nas.data.ahead import work_ahead
from nas.data.augmentation import Augmentation
from nas.data.cropping import crop_box, crop_draws
from nas.data.moving import move
from nas.data.painting import draw_paints, paint
from nas.data.preprocessing import AS_THEY_ARE, Preprocessing
from nas.data.resampling import resize, resize_boxes
from nas.data.split import Shuffle, Split, check_augmentation, index_batches, numbered_batches


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemorySplit:
    """A ``Split`` in memory.

    Attributes:
        images: ``(N, 3, H, W)``: bytes, or numbers in 0..1.
        labels: ``(N,)``.
        preprocessing: by itself none, for images that are a network's input already.
    """

    images: Tensor
    labels: Tensor
    preprocessing: Preprocessing = AS_THEY_ARE

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Sequence[int]) -> Split:
        """Some of the images."""
        return MemorySplit(
            images=self.images[rows], labels=self.labels[rows], preprocessing=self.preprocessing
        )

    def fingerprint(self) -> str:
        """Of images, labels and preprocessing."""
        digest = hashlib.sha256(repr((self.images.shape, self.preprocessing)).encode())
        for tensor in (self.images, self.labels):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def index_batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Which images are in each of the ``batches``."""
        return index_batches(len(self), batch_size, generator)

    def images_at(self, chosen: Tensor, resolution: int) -> Tensor:
        """Some of the images as a network's input, without augmentation."""
        return self.preprocessing.normalise(self._cut(self._pixels(chosen), resolution))

    def batches(
        self,
        batch_size: int,
        resolution: int,
        shuffle: Shuffle | None = None,
        augmentation: Augmentation | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``(images, labels)``."""
        check_augmentation(shuffle, augmentation)
        numbered = numbered_batches(len(self), batch_size, shuffle)
        if shuffle is None or augmentation is None:
            for _, chosen in numbered:
                yield self.images_at(chosen, resolution), self.labels[chosen]
            return
        varied = (
            partial(self._varied, chosen, resolution, augmentation, shuffle, number)
            for number, chosen in numbered
        )
        yield from work_ahead(varied)

    def _varied(
        self,
        chosen: Tensor,
        resolution: int,
        augmentation: Augmentation,
        shuffle: Shuffle,
        number: int,
    ) -> tuple[Tensor, Tensor]:
        draws, pixels = shuffle.draws(number), self._pixels(chosen)
        if augmentation.crop is None:
            images = self._cut(pixels, resolution)
        else:
            height, width = self.images.shape[2:]
            boxes = [
                crop_box(width, height, augmentation.crop, drawn)
                for drawn in crop_draws(len(chosen), draws)
            ]
            images = resize_boxes(pixels, boxes, resolution)
        if augmentation.repaints:
            images = _painted(images, augmentation, draws)
        return self.preprocessing.normalise(move(images, augmentation, draws)), self.labels[chosen]

    def _pixels(self, chosen: Tensor) -> Tensor:
        """In 0..1."""
        pixels = self.images[chosen]
        return pixels if pixels.is_floating_point() else pixels.float() / 255

    def _cut(self, pixels: Tensor, resolution: int) -> Tensor:
        height, width = self.images.shape[2:]
        size = self.preprocessing.resized_size(width, height, resolution)
        left, top = ((side - resolution) // 2 for side in size)
        resized = resize(pixels, size[1], size[0])
        return resized[:, :, top : top + resolution, left : left + resolution]


def _painted(images: Tensor, augmentation: Augmentation, draws: np.random.Generator) -> Tensor:
    """Numbers in 0..1 as they were, after pillow has had them as bytes."""
    whole = images.mul(255).round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).numpy()
    paints = draw_paints(len(images), augmentation, draws)
    painted = [
        np.asarray(paint(Image.fromarray(one), what))
        for one, what in zip(whole, paints, strict=True)
    ]
    return torch.from_numpy(np.stack(painted)).permute(0, 3, 1, 2).float().div_(255)
