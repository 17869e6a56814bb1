"""A data set in memory. The search is handed its training and validation parts and no more."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Normalised float32 images ``(N, C, H, W)``, at their own size, and labels ``(N,)``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, batch_size: int, resolution: int, generator: torch.Generator | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of ``(images, labels)`` at ``resolution``, channels last.

        With a ``generator`` they are shuffled, and an incomplete last batch is dropped.
        """
        if generator is None:
            order = torch.arange(len(self))
        else:
            order = torch.randperm(len(self), generator=generator)
        for chosen in torch.split(order, batch_size):
            if generator is not None and len(chosen) < min(batch_size, len(self)):
                return
            images = functional.interpolate(
                self.images[chosen], size=(resolution, resolution), mode="bilinear"
            )
            yield images.contiguous(memory_format=torch.channels_last), self.labels[chosen]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchData:
    """What a search may look at."""

    train: Split
    validation: Split
    num_classes: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageData:
    """A whole data set. ``mean`` and ``std`` are those of the training part's pixels in 0..1."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    mean: float
    std: float

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def for_search(self) -> SearchData:
        """The data set without its test part."""
        return SearchData(
            train=self.train, validation=self.validation, num_classes=self.num_classes
        )
