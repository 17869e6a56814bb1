"""Where images come from."""

from typing import Protocol

from PIL import Image


class ImageSource(Protocol):
    """Images by number; asked from several threads at once."""

    def open(self, index: int) -> Image.Image:
        """An image, decoded or not yet; may raise anything where it cannot be read."""
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
