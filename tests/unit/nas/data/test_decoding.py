"""Whatever a file holds, what comes out is red, green and blue, upright, of the wanted part."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data.decoding import decode, upright_rgb, upright_size


def _stored(image: Image.Image, kind: str = "png", **settings: Any) -> Image.Image:
    content = io.BytesIO()
    image.save(content, kind, **settings)
    return Image.open(io.BytesIO(content.getvalue()))


def _whole(width: int, height: int) -> tuple[float, float, float, float]:
    return 0, 0, width, height


def _quarters() -> Image.Image:
    """60×40: red, green; blue, white."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30, 0] = pixels[:20, 30:, 1] = pixels[20:, :30, 2] = 255
    pixels[20:, 30:] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("L", (8, 8), 77), "png", (77, 77, 77)),
        (Image.new("1", (8, 8), 1), "png", (255, 255, 255)),
        (Image.new("I;16", (8, 8), 0x8080), "png", (128, 128, 128)),
        (Image.new("I;16", (8, 8), 65535), "tiff", (255, 255, 255)),
        (Image.new("F", (8, 8), 0.5), "tiff", (128, 128, 128)),
        (Image.new("RGBA", (8, 8), (200, 0, 0, 255)), "png", (200, 0, 0)),
        (Image.new("RGBA", (8, 8), (200, 0, 0, 0)), "png", (255, 255, 255)),
        (Image.new("LA", (8, 8), (0, 0)), "png", (255, 255, 255)),
        (Image.new("RGB", (8, 8), (9, 8, 7)).quantize(4), "png", (9, 8, 7)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "tiff", (255, 0, 0)),
    ],
)
def test_every_kind_of_pixels(
    image: Image.Image, kind: str, expected: tuple[int, int, int]
) -> None:
    assert upright_rgb(_stored(image, kind)).getpixel((3, 3)) == expected


def test_a_transparent_entry_of_a_palette_is_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30] + [0, 0, 0] * 255)
    assert upright_rgb(_stored(image, "png", transparency=0)).getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize(
    ("orientation", "operation"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_images_are_shown_upright(
    kind: str, orientation: int, operation: Image.Transpose | None
) -> None:
    # As a camera stores them: turned the other way.
    image = _quarters() if operation is None else _quarters().transpose(operation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = _stored(image, kind, exif=exif)
    assert upright_size(stored) == (60, 40)
    small = decode(stored, _whole, 16, 1.0)
    assert small.shape == (16, 16, 3)
    corners = [small[2, 2], small[2, 13], small[13, 2], small[13, 13]]
    expected = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]
    assert np.abs(np.array(corners, int) - np.array(expected)).max() < 60  # JPEG's colours are off


def test_a_part_is_what_cutting_leaves() -> None:
    image = _quarters()
    part = decode(_stored(image), lambda *_: (30, 0, 60, 20), 10, 1.0)
    # A new pixel is made of 6×6: those at the border see a little of what is beyond.
    assert (part[:-1, 1:] == (0, 255, 0)).all()
    assert part[4, 0].tolist() == pytest.approx([255 / 9, 255 * 8 / 9, 0], abs=40)


@pytest.mark.parametrize("gap", [1.0, 2.0])
def test_a_large_jpeg_is_decoded_at_a_fraction(gap: float) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    large = small.resize((1600, 1200), Image.Resampling.BICUBIC)
    stored = _stored(large, "jpeg", quality=95)
    found = decode(stored, lambda *_: (200, 100, 1000, 900), 50, gap).astype(int)
    # 800 pixels of it become 50; at 1/8 they are 100.
    assert stored.size == (200, 150)
    exact = large.resize((50, 50), Image.Resampling.BILINEAR, (200, 100, 1000, 900))
    assert np.abs(found - np.asarray(exact).astype(int)).mean() < 4


def test_a_damaged_file_is_an_error() -> None:
    content = io.BytesIO()
    _quarters().save(content, "jpeg")
    with pytest.raises(OSError, match="truncated"):
        decode(Image.open(io.BytesIO(content.getvalue()[:-100])), _whole, 8, 1.0)
