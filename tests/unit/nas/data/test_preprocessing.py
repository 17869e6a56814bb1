import pytest
import torch

from nas.data import Preprocessing


def test_pixels_are_normalised_by_channel() -> None:
    preprocessing = Preprocessing(mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 1.0))
    images = torch.tensor([1.0, 0.0, 0.5]).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    assert preprocessing.normalise(images)[1, :, 2, 2].tolist() == [1.0, -1.0, 0.5]


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
