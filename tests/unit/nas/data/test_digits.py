"""The digits: parts that share no image, with equal class shares, normalised by one of them."""

from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nas.data import ImageData, Split
from nas.data.digits import digits_data


@pytest.fixture(scope="module")
def data() -> ImageData:
    return digits_data(seed=0)


def _normalised(split: Split) -> torch.Tensor:
    return split.images_at(torch.arange(len(split)), 8)


def _sixteenths(data: ImageData, split: Split) -> list[tuple[int, bytes]]:
    """The label and the pixels that the file has, 0 to 16, of each image."""
    pixels = (
        _normalised(split)[:, 0] * data.preprocessing.std[0] + data.preprocessing.mean[0]
    ) * 16
    assert torch.allclose(pixels, pixels.round(), atol=1e-4)
    return [
        (int(label), image.astype(np.uint8).tobytes())
        for label, image in zip(split.labels, pixels.round().numpy(), strict=True)
    ]


def test_the_parts_are_the_whole_and_share_nothing(data: ImageData) -> None:
    parts = [_sixteenths(data, split) for split in (data.train, data.validation, data.test)]
    assert [len(part) for part in parts] == [1077, 360, 360]
    digits = load_digits()
    whole = [
        (int(label), image.astype(np.uint8).tobytes())
        for label, image in zip(digits.target, digits.images, strict=True)
    ]
    assert Counter(whole) == Counter(image for part in parts for image in part)
    # No image is in the set twice, so equal counts mean that the parts share none.
    assert len(set(whole)) == 1797


def test_every_part_has_the_classes_in_equal_shares(data: ImageData) -> None:
    # 174 to 183 images a class in all.
    for split, low, high in (
        (data.train, 104, 110),
        (data.validation, 34, 37),
        (data.test, 34, 37),
    ):
        counts = np.bincount(split.labels.numpy(), minlength=10)
        assert len(counts) == 10
        assert low <= counts.min() <= counts.max() <= high
    assert data.class_names == tuple("0123456789")


def test_images_are_normalised_by_the_training_part_alone(data: ImageData) -> None:
    assert data.preprocessing.mean == pytest.approx((0.3053,) * 3, abs=1e-3)
    assert data.preprocessing.std == pytest.approx((0.3760,) * 3, abs=1e-3)
    images = _normalised(data.train)
    assert images.shape == (1077, 3, 8, 8)
    assert float(images.mean()) == pytest.approx(0, abs=1e-6)
    assert float(images.std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert abs(float(_normalised(data.validation).mean())) > 1e-4
    assert abs(float(_normalised(data.test).mean())) > 1e-4


def test_the_seed_decides_the_parts(data: ImageData) -> None:
    again, other = digits_data(seed=0), digits_data(seed=1)
    for name in ("train", "validation", "test"):
        assert getattr(again, name).fingerprint() == getattr(data, name).fingerprint()
    assert set(_sixteenths(other, other.test)) != set(_sixteenths(data, data.test))


def test_a_search_is_not_handed_the_test_part(data: ImageData) -> None:
    handed = data.for_search()
    assert not hasattr(handed, "test")
    assert handed.train is data.train
    assert handed.validation is data.validation
    assert handed.num_classes == 10


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_shares_are_of_all_images(share: float) -> None:
    data = digits_data(validation_share=share, test_share=0.4)
    assert len(data.validation) == pytest.approx(1797 * share, abs=1)
    assert len(data.test) == pytest.approx(1797 * 0.4, abs=1)
