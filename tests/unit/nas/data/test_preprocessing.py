import numpy as np
import pytest
import torch
from PIL import Image

from nas.data import Preprocessing


def test_pixels_are_normalised_by_channel() -> None:
    preprocessing = Preprocessing(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    images = torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    normalised = preprocessing.normalise(images)
    assert normalised[1, :, 2, 2].tolist() == [1.0, -1.0, 0.5]
    assert normalised.is_contiguous(memory_format=torch.channels_last)


def test_bytes_and_numbers_are_normalised_alike() -> None:
    preprocessing = Preprocessing(mean=(0.4, 0.3, 0.2), std=(0.5, 0.25, 0.125))
    pixels = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8)
    mean, std = (
        torch.tensor(each)[:, None, None] for each in ((0.4, 0.3, 0.2), (0.5, 0.25, 0.125))
    )
    expected = (pixels / 255 - mean) / std
    torch.testing.assert_close(preprocessing.normalise(pixels), expected)
    torch.testing.assert_close(preprocessing.normalise(pixels / 255), expected)


def test_the_box_is_what_the_cut_leaves() -> None:
    preprocessing = Preprocessing(mean=(0,) * 3, std=(1,) * 3, crop=0.875)
    rng = np.random.default_rng(0)
    for width, height in ((500, 375), (301, 417), (256, 256)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        size = preprocessing.resized_size(width, height, 224)
        assert min(size) == 256
        left, top = (size[0] - 224) // 2, (size[1] - 224) // 2
        cut = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
        box = preprocessing.box(width, height, 224)
        at_once = image.resize((224, 224), Image.Resampling.BILINEAR, box)
        assert np.abs(np.asarray(cut).astype(int) - np.asarray(at_once)).max() <= 1


def test_the_cut_keeps_its_share_of_the_shorter_side() -> None:
    assert Preprocessing(mean=(0,) * 3, std=(1,) * 3, crop=0.875).resized(224) == 256


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mean": (0.5,)}, r"mean must be 3 numbers, but got \(0\.5,\)"),
        ({"std": (0.5, 0, 0.5)}, r"std must be a number in 1e-06\.\.1, but got 0"),
        ({"crop": 0}, r"crop must be a number in 0\.1\.\.1, but got 0"),
    ],
)
def test_what_is_out_of_range_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocessing(**({"mean": (0.5,) * 3, "std": (0.5,) * 3} | settings))  # type: ignore[arg-type]
