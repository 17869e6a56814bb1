"""What the items of a data set of torch's may be."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.torch_dataset import as_image, torch_dataset_data

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)


class Pairs:
    def __init__(self, items: list[object]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


@pytest.mark.parametrize(
    "item",
    [
        Image.fromarray(PIXELS),
        PIXELS,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
        PIXELS.astype(np.float64) / 255,
    ],
)
def test_all_kinds_of_images(item: object) -> None:
    assert (np.asarray(as_image(item)) == PIXELS).all()


@pytest.mark.parametrize("item", [PIXELS[:, :, 0], torch.from_numpy(PIXELS[:, :, 0])[None]])
def test_a_single_channel_is_grey(item: object) -> None:
    assert (np.asarray(as_image(item).convert("RGB")) == PIXELS[:, :, :1]).all()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("a.jpg", "must be pillow's, a tensor or an array"),
        (torch.zeros(2, 4, 4), "1, 3 or 4 channels"),
        (torch.randn(3, 4, 4), "leave normalising to the framework"),
        (torch.full((3, 4, 4), float("nan")), "leave normalising"),
        (np.zeros((4, 4, 3), np.int64), "bytes or numbers in 0..1, but are int64"),
    ],
)
def test_what_is_no_image(item: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_image(item)


def _items(labels: list[object]) -> Pairs:
    return Pairs([(RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), label) for label in labels])


def test_class_numbers_are_names_where_there_are_none() -> None:
    labels = [label for label in (0, np.int64(1), torch.tensor(2)) for _ in range(8)]
    data = torch_dataset_data(dataset=_items(labels), seed=0, name="mine")
    assert data.class_names == ("0", "1", "2")
    assert data.name == "mine"
    named = torch_dataset_data(dataset=_items(labels), seed=0, class_names=["a", "b", "c"])
    assert named.class_names == ("a", "b", "c")
    with pytest.raises(ValueError, match="labels of Pairs go up to 2, but there are 2 class names"):
        torch_dataset_data(dataset=_items(labels), seed=0, class_names=["a", "b"])


def test_an_item_that_cannot_be_read_is_skipped() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> object:
            if index == 3:
                raise RuntimeError("disk on fire")
            return self.items[index]

    data = torch_dataset_data(dataset=Broken(_items([0, 1] * 10).items), seed=0)
    assert len(data.train) + len(data.validation) + len(data.test) == 19
    assert data.notes == (
        "1 of 20 images of Broken cannot be read and are skipped: train[3]; the first: "
        "RuntimeError: disk on fire",
    )


def test_items_that_can_none_be_read_are_no_single_class() -> None:
    class Broken(Pairs):
        def __getitem__(self, index: int) -> object:
            raise KeyError(f"photo{index}")

    with pytest.raises(
        ValueError, match=r"^no item of Broken can be read; the first: KeyError: 'photo0'$"
    ):
        torch_dataset_data(dataset=Broken([None] * 20), seed=0)


def test_a_file_that_is_not_handed_over_is_not_skipped(tmp_path: Path) -> None:
    class Files(Pairs):
        def __getitem__(self, index: int) -> object:
            if index == 3:
                np.load(tmp_path / "photo.npy")
            return self.items[index]

    with pytest.raises(ValueError, match="cannot be read: No such file or directory") as raised:
        torch_dataset_data(dataset=Files(_items([0, 1] * 10).items), seed=0)
    assert str(raised.value).startswith(f"train[3] ({tmp_path}/photo.npy) of Files cannot")


def test_normalised_images_are_not_taken_for_damaged() -> None:
    items = Pairs([(torch.randn(3, 8, 8), number % 2) for number in range(20)])
    with pytest.raises(
        ValueError, match=r"^train\[0\] of Pairs: pixels must be bytes .* leave normalising to the"
    ):
        torch_dataset_data(dataset=items, seed=0)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (Pairs([PIXELS] * 3), r"must be \(image, label\), but one is a <class 'numpy.ndarray'>"),
        (Pairs([(PIXELS, 0.5)]), "must be integers from 0, but one is 0.5"),
        (Pairs([(PIXELS, -1)]), "must be integers from 0, but one is -1"),
        (Pairs([]), "holds no images"),
    ],
)
def test_what_is_no_data_set(items: Pairs, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        torch_dataset_data(dataset=items, seed=0)
