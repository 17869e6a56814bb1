"""Images that are decoded when they are wanted, by threads that work ahead.

Networks that are compared at a small image size see the same small images again and again: what is
cut without chance is kept, as far as there is room.

Threads are enough, because pillow decodes and resizes without Python's lock; and they are possible
where a search's networks are trained, in worker processes that may have no children.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nas.data.ahead import work_ahead
from nas.data.augmentation import Augmentation
from nas.data.cropping import crop_box, crop_draws
from nas.data.decoding import ChooseBox, decode, decoding_threads
from nas.data.kept import KeptCuts
from nas.data.moving import move
from nas.data.painting import Paint, draw_paints, paint
from nas.data.preprocessing import Preprocessing
from nas.data.source import ImageSource
from nas.data.split import Shuffle, Split, check_augmentation, index_batches, numbered_batches

Decoded = Future[NDArray[np.uint8]]

_EXACT, _QUICK = 2.0, 1.0
"""How many times the wanted pixels a JPEG is decoded at, at least: as good as all, or enough."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LazySplit:
    """A ``Split`` whose images are decoded when they are wanted.

    Attributes:
        rows: the numbers in ``source`` of its images, ``(N,)``.
        labels: ``(N,)``.
        kept: images that need not be decoded again.
    """

    source: ImageSource
    rows: Tensor
    labels: Tensor
    preprocessing: Preprocessing
    kept: KeptCuts = field(default_factory=KeptCuts)

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: Sequence[int]) -> Split:
        """Some of the images."""
        return LazySplit(
            source=self.source,
            rows=self.rows[rows],
            labels=self.labels[rows],
            preprocessing=self.preprocessing,
            kept=self.kept,
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
            return self.preprocessing.normalise(_gathered(self._cut(pool, chosen, resolution)))

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
                    decoded = self._painted(pool, chosen, resolution, augmentation, draws)
                    yield partial(self._varied, chosen, decoded, augmentation, draws)

        try:
            yield from work_ahead(makers())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _cut(self, pool: ThreadPoolExecutor, chosen: Tensor, resolution: int) -> list[Decoded]:
        rows = self.rows[chosen].tolist()
        return [pool.submit(self._decode_cut, row, resolution) for row in rows]

    def _decode_cut(self, row: int, resolution: int) -> NDArray[np.uint8]:
        kept = self.kept.get(row, resolution)
        if kept is not None:
            return kept
        choose = partial(self.preprocessing.box, resolution=resolution)
        pixels = self._decode(row, choose, resolution, _EXACT)
        self.kept.put(row, resolution, pixels)
        return pixels

    def _painted(
        self,
        pool: ThreadPoolExecutor,
        chosen: Tensor,
        resolution: int,
        augmentation: Augmentation,
        draws: np.random.Generator,
    ) -> list[Decoded]:
        rows = self.rows[chosen].tolist()
        cut = partial(self._decode_cut, resolution=resolution)
        decoders = [partial(cut, row) for row in rows]
        if augmentation.crop is not None:
            decoders = [
                partial(
                    self._decode,
                    row,
                    partial(crop_box, least=augmentation.crop, drawn=drawn),
                    resolution,
                    _QUICK,
                )
                for row, drawn in zip(rows, crop_draws(len(rows), draws), strict=True)
            ]
        if not augmentation.repaints:
            return [pool.submit(decoder) for decoder in decoders]
        paints = draw_paints(len(rows), augmentation, draws)
        return [
            pool.submit(_paint, decoder, what)
            for decoder, what in zip(decoders, paints, strict=True)
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
        return self.preprocessing.normalise(_gathered(decoded)), self.labels[chosen]

    def _varied(
        self,
        chosen: Tensor,
        decoded: list[Decoded],
        augmentation: Augmentation,
        draws: np.random.Generator,
    ) -> tuple[Tensor, Tensor]:
        images = move(_gathered(decoded), augmentation, draws)
        return self.preprocessing.normalise(images), self.labels[chosen]


def _paint(decode_one: Callable[[], NDArray[np.uint8]], what: Paint) -> NDArray[np.uint8]:
    return np.asarray(paint(Image.fromarray(decode_one()), what))


def _gathered(decoded: list[Decoded]) -> Tensor:
    """``(N, 3, H, W)``, channels last, bytes."""
    pixels = torch.from_numpy(np.stack([image.result() for image in decoded]))
    return pixels.permute(0, 3, 1, 2)
