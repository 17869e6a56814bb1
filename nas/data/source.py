"""Where images come from."""

from collections.abc import Sequence, Sized
from typing import Protocol

from PIL import Image


class NotAnImageError(ValueError):
    """What a source holds is no image at all: whoever made the source can mend it."""


class ImageSource(Protocol):
    """Images by number; asked from several threads at once."""

    def open(self, index: int) -> Image.Image:
        """An image, decoded or not yet; may raise anything where it cannot be read.

        Raises:
            NotAnImageError: there is something else in its place.
        """
        ...

    def name(self, index: int) -> str:
        """What a person knows the image by."""
        ...

    def digest(self, index: int) -> int:
        """64 bits that equal images have alike, wherever they are."""
        ...

    def fingerprint(self) -> str:
        """Another one for other images; can name a file."""
        ...


def place_in(parts: Sequence[Sized], index: int) -> tuple[int, int]:
    """Which of some parts that come one after another holds an image, and its number there."""
    for number, part in enumerate(parts):
        if index < len(part):
            return number, index
        index -= len(part)
    raise IndexError(index)
