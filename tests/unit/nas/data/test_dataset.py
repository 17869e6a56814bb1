"""Splits and batches of images; what is said of images that make no data set."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from nas.data import MemorySplit, Shuffle, Split, split_images


def _split(number: int = 10) -> Split:
    """Image i is all i."""
    values = torch.arange(number, dtype=torch.float32)
    return MemorySplit(
        images=values.view(-1, 1, 1, 1).repeat(1, 3, 8, 8), labels=torch.arange(number)
    )


def _labels(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[list[int]]:
    return [labels.tolist() for _, labels in batches]


def test_unshuffled_batches_are_in_order_and_complete() -> None:
    assert _labels(_split().batches(4, 8)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_shuffled_an_incomplete_last_batch_is_dropped() -> None:
    batches = _labels(_split().batches(4, 8, Shuffle(seed=0, epoch=0)))
    assert [len(batch) for batch in batches] == [4, 4]
    seen = [label for batch in batches for label in batch]
    assert len(set(seen)) == 8
    assert seen != sorted(seen)


def test_seed_and_epoch_decide_the_order() -> None:
    orders = [
        _labels(_split().batches(5, 8, Shuffle(seed=seed, epoch=epoch)))
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != orders[3]


def test_an_epoch_goes_on_where_it_was_left() -> None:
    whole = _labels(_split().batches(3, 8, Shuffle(seed=0, epoch=2)))
    assert _labels(_split().batches(3, 8, Shuffle(seed=0, epoch=2, start=2))) == whole[2:]


def test_some_of_the_images() -> None:
    assert _labels(_split().subset([7, 2, 5]).batches(2, 8)) == [[7, 2], [5]]


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    assert _labels(_split(3).batches(8, 8)) == [[0, 1, 2]]
    (batch,) = _labels(_split(3).batches(8, 8, Shuffle(seed=0, epoch=0)))
    assert sorted(batch) == [0, 1, 2]


@pytest.mark.parametrize("resolution", [4, 8, 20])
def test_images_come_with_their_labels_at_the_resolution_asked_for(resolution: int) -> None:
    for images, labels in _split().batches(5, resolution, Shuffle(seed=3, epoch=0)):
        assert images.shape == (5, 3, resolution, resolution)
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert images[:, 2, 1, 3].tolist() == pytest.approx(labels.tolist())


def test_images_are_enlarged_bilinearly() -> None:
    ramp = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2).repeat(1, 3, 2, 1)
    ((images, _),) = MemorySplit(images=ramp, labels=torch.tensor([0])).batches(1, 4)
    assert images[0, 0].tolist() == [[0.0, 1.0, 3.0, 4.0]] * 4


def _given(**changed: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "name": "stripes",
        "images": np.linspace(0, 1, 40 * 4, dtype=np.float32).reshape(40, 1, 2, 2),
        "labels": np.arange(40) % 2,
        "class_names": ["left", "right"],
        "seed": 0,
    }
    return given | changed


def test_images_are_split_by_shares_and_given_three_channels() -> None:
    data = split_images(**_given(validation_share=0.1, test_share=0.3))
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 4, 12)
    images = data.test.images_at(torch.arange(12), 2)
    assert images.shape == (12, 3, 2, 2)
    assert images.dtype == torch.float32
    assert torch.equal(images[:, 0], images[:, 2])
    for part in (data.train, data.validation, data.test):
        assert int(part.labels.sum()) == len(part) / 2
    assert (data.name, data.num_classes, data.class_names) == ("stripes", 2, ("left", "right"))


def test_three_channels_stay_what_they_are() -> None:
    images = np.zeros((40, 3, 2, 2), np.float32)
    images[:, 0], images[::2, 1] = 1.0, 1.0
    data = split_images(**_given(images=images))
    # Red is everywhere, blue nowhere, and green half of the time.
    assert data.preprocessing.mean == pytest.approx((1.0, 0.5, 0.0))
    assert data.preprocessing.std == pytest.approx((1.0, 0.5, 1.0))
    normalised = data.train.images_at(torch.arange(24), 2)
    assert normalised[:, 0].unique().tolist() == [0.0]
    assert normalised[:, 2].unique().tolist() == [0.0]
    assert torch.equal(normalised[:, 1, 0, 0] > 0, data.train.labels == 0)


def test_bytes_are_shares_of_255() -> None:
    numbers = (np.arange(40 * 3 * 4) % 256).reshape(40, 3, 2, 2)
    as_bytes = split_images(**_given(images=numbers.astype(np.uint8)))
    as_floats = split_images(**_given(images=(numbers / 255).astype(np.float32)))
    assert as_bytes.preprocessing.mean == pytest.approx(as_floats.preprocessing.mean, abs=1e-6)
    every = torch.arange(24)
    torch.testing.assert_close(
        as_bytes.train.images_at(every, 3), as_floats.train.images_at(every, 3)
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"validation_share": 0.0}, r"data\.validation_share must be in 0\.01\.\.0\.45, .* 0\.0$"),
        ({"test_share": 0.5}, r"data\.test_share must be in 0\.01\.\.0\.45, but got 0\.5$"),
        ({"test_share": float("nan")}, r"data\.test_share must be in"),
        ({"images": np.zeros((40, 2, 2), np.float32)}, r"shape \(N, 1 or 3, H, W\)"),
        ({"images": np.zeros((40, 2, 2, 2), np.float32)}, r"images are \(40, 2, 2, 2\)"),
        ({"images": np.zeros((39, 1, 2, 2), np.float32)}, r"labels \(40,\)"),
        ({"images": np.full((40, 1, 2, 2), 255.0)}, r"bytes or in 0\.\.1; divide numbers"),
        ({"images": np.full((40, 1, 2, 2), np.nan)}, r"must be bytes or in 0\.\.1"),
        ({"images": np.full((40, 1, 2, 2), 0.5)}, "all pixels of the training part are 0.5"),
        ({"labels": np.arange(40) % 3}, r"labels must be in 0\.\.1, .* but are 0\.\.2"),
        ({"labels": np.arange(40) % 2 - 1}, r"but are -1\.\.0"),
        ({"class_names": ["one"], "labels": np.zeros(40, int)}, "at least two classes"),
        ({"labels": np.arange(40) // 38}, "'right' has 2"),
    ],
)
def test_what_makes_no_data_set_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_images(**_given(**changed))
