"""From an image file to pixels: the part that is wanted, at the size that is wanted."""

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from nas.data.cropping import Box

ChooseBox = Callable[[int, int], Box]
"""Width and height of an image → the part of it that is wanted."""

_MOST_THREADS = 16
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations in which width and height change places."""
_WIDE_GREYS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_MOST_GREY = 65535


def decoding_threads() -> int:
    """As many as there are cores for this process, and at least two, for one may wait for files."""
    return max(2, min(_MOST_THREADS, len(os.sched_getaffinity(0))))


def decode(image: Image.Image, choose: ChooseBox, resolution: int, gap: float) -> NDArray[np.uint8]:
    """A part of an opened image, upright, ``(resolution, resolution, 3)``.

    A JPEG is decoded at a half, a quarter or an eighth of its size where the part still has ``gap``
    times the pixels that are wanted; the rest is done by pillow's bilinear filter, which looks at
    all pixels that a new one covers. All of it happens without Python's lock.

    Raises:
        OSError or another: the file is damaged.
    """
    width, height = upright_size(image)
    left, top, right, bottom = choose(width, height)
    if image.format in ("JPEG", "MPO"):
        wanted = gap * resolution
        across, down = wanted * width / (right - left), wanted * height / (bottom - top)
        if (width, height) != image.size:
            across, down = down, across
        image.draft("RGB", (int(across), int(down)))
    pixels = upright_rgb(image)
    # What a draft has made smaller, the box is, too.
    x_scale, y_scale = pixels.width / width, pixels.height / height
    box = (left * x_scale, top * y_scale, right * x_scale, bottom * y_scale)
    return np.asarray(pixels.resize((resolution, resolution), Image.Resampling.BILINEAR, box))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as a viewer shows them."""
    width, height = image.size
    sideways = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Red, green and blue in bytes, whatever it was, turned as its EXIF says.

    Pillow's own conversion cuts grey values beyond 255, and shows the colours that lie under what
    is transparent; here the former are scaled, and the latter are laid on white.
    """
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in _WIDE_GREYS:
        grey = np.asarray(image).astype(np.float32)
        if image.mode == "F" and grey.max(initial=0) <= 1:
            grey = grey * _MOST_GREY
        scaled = np.clip(np.rint(grey * (255 / _MOST_GREY)), 0, 255).astype(np.uint8)
        return Image.fromarray(scaled).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        page = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(page, opaque).convert("RGB")
    return image.convert("RGB")
