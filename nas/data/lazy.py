"""Images that are decoded when they are wanted, by threads that work ahead.

Threads are enough, because pillow decodes and resizes without Python's lock; and they are possible
where a search's networks are trained, in worker processes that may have no children.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nas.data.ahead import work_ahead
from nas.data.augmentation import Augmentation, Box, crop_box, crop_draws
from nas.data.decoding import ChooseBox, decode
from nas.data.pixels import augment_pixels
from nas.data.preprocessing import Preprocessing
from nas.data.split import Shuffle, Split, check_augmentation, index_batches, numbered_batches

Decoded = Future[NDArray[np.uint8]]

_MOST_THREADS = 16
_EXACT, _QUICK = 2.0, 1.0
"""How many times the wanted pixels a JPEG is decoded at, at least: as good as all, or enough."""


class ImageSource(Protocol):
    """Where images come from; asked from several threads at once."""

    def open(self, index: int) -> Image.Image:
        """An image, decoded or not yet; may raise anything where it cannot be read."""
        ...

    def name(self, index: int) -> str:
        """What a person knows the image by."""
        ...

    def fingerprint(self) -> str:
        """Another one for other images."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazySplit:
    """A ``Split`` whose images are decoded when they are wanted.

    Attributes:
        rows: the numbers in ``source`` of its images, ``(N,)``.
        labels: ``(N,)``.
    """

    source: ImageSource
    rows: Tensor
    labels: Tensor
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Sequence[int]) -> Split:
        """Some of the images."""
        return LazySplit(
            source=self.source,
            rows=self.rows[rows],
            labels=self.labels[rows],
            preprocessing=self.preprocessing,
        )

    def fingerprint(self) -> str:
        """Of the source, which of its images, labels and preprocessing."""
        digest = hashlib.sha256(repr((self.source.fingerprint(), self.preprocessing)).encode())
        for tensor in (self.rows, self.labels):
            digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()[:16]

    def index_batches(
        self, batch_size: int, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Which images are in each of the ``batches``."""
        return index_batches(len(self), batch_size, generator)

    def images_at(self, chosen: Tensor, resolution: int) -> Tensor:
        """Some of the images as a network's input, without augmentation."""
        with ThreadPoolExecutor(decoding_threads()) as pool:
            return self._as_input(_gathered(self._cut(pool, chosen, resolution)))

    def batches(
        self,
        batch_size: int,
        resolution: int,
        shuffle: Shuffle | None = None,
        augmentation: Augmentation | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``(images, labels)``."""
        check_augmentation(shuffle, augmentation)
        pool = ThreadPoolExecutor(decoding_threads(), thread_name_prefix="decoding")

        def makers() -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
            for number, chosen in numbered_batches(len(self), batch_size, shuffle):
                if shuffle is None or augmentation is None:
                    decoded = self._cut(pool, chosen, resolution)
                    yield partial(self._plain, chosen, decoded)
                else:
                    draws = shuffle.draws(number)
                    decoded = self._cropped(pool, chosen, resolution, augmentation, draws)
                    yield partial(self._varied, chosen, decoded, augmentation, draws)

        try:
            yield from work_ahead(makers())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _cut(self, pool: ThreadPoolExecutor, chosen: Tensor, resolution: int) -> list[Decoded]:
        def choose(width: int, height: int) -> Box:
            return self.preprocessing.box(width, height, resolution)

        rows = self.rows[chosen].tolist()
        return [pool.submit(self._decode, row, choose, resolution, _EXACT) for row in rows]

    def _cropped(
        self,
        pool: ThreadPoolExecutor,
        chosen: Tensor,
        resolution: int,
        augmentation: Augmentation,
        draws: np.random.Generator,
    ) -> list[Decoded]:
        if augmentation.crop is None:
            return self._cut(pool, chosen, resolution)
        rows, drawn = self.rows[chosen].tolist(), crop_draws(len(chosen), draws)
        boxes = [partial(crop_box, least=augmentation.crop, drawn=each) for each in drawn]
        return [
            pool.submit(self._decode, row, box, resolution, _QUICK)
            for row, box in zip(rows, boxes, strict=True)
        ]

    def _decode(
        self, row: int, choose: ChooseBox, resolution: int, gap: float
    ) -> NDArray[np.uint8]:
        try:
            return decode(self.source.open(row), choose, resolution, gap)
        except Exception as error:
            raise ValueError(
                f"{self.source.name(row)} could be read when the data set was loaded, and now it "
                f"cannot ({' '.join(str(error).split()):.80}); put it back, and go on"
            ) from error

    def _plain(self, chosen: Tensor, decoded: list[Decoded]) -> tuple[Tensor, Tensor]:
        return self._as_input(_gathered(decoded)), self.labels[chosen]

    def _varied(
        self,
        chosen: Tensor,
        decoded: list[Decoded],
        augmentation: Augmentation,
        draws: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        images = augment_pixels(_gathered(decoded), augmentation, draws)
        return self._as_input(images), self.labels[chosen]

    def _as_input(self, images: Tensor) -> Tensor:
        normalised = self.preprocessing.normalise(images)
        return normalised.contiguous(memory_format=torch.channels_last)


def _gathered(decoded: list[Decoded]) -> Tensor:
    """``(N, 3, H, W)``, channels last, pixels in 0..1."""
    pixels = torch.from_numpy(np.stack([image.result() for image in decoded]))
    return pixels.permute(0, 3, 1, 2).float() / 255


def decoding_threads() -> int:
    """As many as there are cores for this process, and at least two, for one may wait for files."""
    return max(2, min(_MOST_THREADS, len(os.sched_getaffinity(0))))
