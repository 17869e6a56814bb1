"""The same pictures as a folder, as parquet files and as a data set of torch's."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from nas.data import ImageData, LazySplit, MemorySplit
from nas.data.huggingface import huggingface_data
from nas.data.image_folder import image_folder_data
from nas.data.torch_dataset import torch_dataset_data

Pictures = list[tuple[NDArray[np.uint8], str]]
"""Pixels ``(H, W, 3)`` and class names."""

Load = Callable[..., ImageData]
"""``load(tmp_path, {"train": pictures, ...}, **settings)``; one part is no part."""

CLASSES = ("cat", "dog")


def pictures(number: int, *, size: tuple[int, int] = (20, 16), seed: int = 0) -> Pictures:
    rng = np.random.default_rng(seed)
    return [
        (rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8), CLASSES[index % 2])
        for index in range(number)
    ]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def _folder(root: Path, parts: dict[str, Pictures], **settings: object) -> ImageData:
    for part, those in parts.items():
        for number, (pixels, name) in enumerate(those):
            path = (root / part if len(parts) > 1 else root) / name / f"{number:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_png(pixels))
    return image_folder_data(path=str(root), **settings)  # type: ignore[arg-type]


def _parquet(root: Path, parts: dict[str, Pictures], **settings: object) -> ImageData:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=list(CLASSES))}
    )
    for part, those in parts.items():
        rows = {
            "picture": [{"bytes": _png(pixels), "path": None} for pixels, _ in those],
            "kind": [CLASSES.index(name) for _, name in those],
        }
        table = datasets.Dataset.from_dict(rows, features=features)
        table.to_parquet(str(root / f"{part}-00000-of-00001.parquet"))
    return huggingface_data(path=str(root), **settings)  # type: ignore[arg-type]


class Items(torch.utils.data.Dataset[tuple[object, int]]):
    classes = CLASSES

    def __init__(self, those: Pictures) -> None:
        self.those = those

    def __len__(self) -> int:
        return len(self.those)

    def __getitem__(self, index: int) -> tuple[object, int]:
        pixels, name = self.those[index]
        return torch.from_numpy(pixels).permute(2, 0, 1), CLASSES.index(name)


def _torch(root: Path, parts: dict[str, Pictures], **settings: object) -> ImageData:
    sets = {part: Items(those) for part, those in parts.items()}
    train = sets.pop("train")
    return torch_dataset_data(dataset=train, **sets, **settings)  # type: ignore[arg-type]


LOADERS: dict[str, Load] = {"folder": _folder, "parquet": _parquet, "torch": _torch}


@pytest.fixture(params=sorted(LOADERS))
def load(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ImageData]:
    if request.param == "parquet":
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    loader = LOADERS[request.param]
    root = tmp_path / "pets"
    root.mkdir()
    return lambda parts, **settings: loader(root, parts, **({"seed": 0} | settings))


def _seen(data: ImageData, part: str) -> list[tuple[int, bytes]]:
    """Labels and bytes of the pictures of a part, at their own size."""
    split = getattr(data, part)
    assert isinstance(split, MemorySplit)
    return sorted(
        (int(label), image.permute(1, 2, 0).contiguous().numpy().tobytes())
        for image, label in zip(split.images, split.labels, strict=True)
    )


def _given(those: Pictures) -> list[tuple[int, bytes]]:
    return sorted((CLASSES.index(name), pixels.tobytes()) for pixels, name in those)


class TestAnyImageData:
    def test_one_part_is_split_in_three_with_equal_class_shares(self, load: Load) -> None:
        those = pictures(60)
        data = load({"train": those})
        assert data.class_names == CLASSES
        assert data.num_classes == 2
        parts = [_seen(data, part) for part in ("train", "validation", "test")]
        assert [len(part) for part in parts] == [36, 12, 12]
        assert [sum(label for label, _ in part) for part in parts] == [18, 6, 6]
        assert sorted(picture for part in parts for picture in part) == _given(those)
        assert data.notes == ()

    def test_three_parts_are_what_they_are(self, load: Load) -> None:
        given = {
            "train": pictures(20), "validation": pictures(8, seed=1), "test": pictures(6, seed=2),
        }  # fmt: skip
        data = load(given)
        for part, those in given.items():
            assert _seen(data, part) == _given(those)

    @pytest.mark.parametrize("held_out", ["validation", "test"])
    def test_of_two_parts_the_one_held_out_tests(self, load: Load, held_out: str) -> None:
        given = {"train": pictures(40), held_out: pictures(6, seed=1)}
        data = load(given, validation_share=0.25)
        assert _seen(data, "test") == _given(given[held_out])
        assert (len(data.train), len(data.validation)) == (30, 10)
        both = _seen(data, "train") + _seen(data, "validation")
        assert sorted(both) == _given(given["train"])

    def test_the_seed_decides_the_parts(self, load: Load) -> None:
        those = pictures(40)
        data, again, other = (load({"train": those}, seed=seed) for seed in (3, 3, 4))
        for part in ("train", "validation", "test"):
            assert getattr(data, part).fingerprint() == getattr(again, part).fingerprint()
            assert getattr(data, part).fingerprint() != getattr(other, part).fingerprint()

    def test_mean_and_deviation_are_of_the_training_part(self, load: Load) -> None:
        data = load({"train": pictures(30)})
        assert isinstance(data.train, MemorySplit)
        pixels = data.train.images.double() / 255
        assert data.preprocessing.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist(), abs=1e-4)
        deviations = pixels.std((0, 2, 3), correction=0).tolist()
        assert data.preprocessing.std == pytest.approx(deviations, abs=1e-4)
        assert data.preprocessing.crop == 1.0

    def test_photos_are_decoded_when_they_are_wanted(self, load: Load) -> None:
        large = load({"train": pictures(20, size=(80, 70))})
        assert isinstance(large.train, LazySplit)
        assert large.preprocessing.crop == 0.875
        images, labels = next(large.train.batches(4, 24))
        assert images.shape == (4, 3, 24, 24)
        assert labels.tolist() == large.train.labels[:4].tolist()

    def test_images_of_several_sizes_have_one_in_a_batch(self, load: Load) -> None:
        data = load({"train": pictures(10) + pictures(10, size=(9, 30))})
        ((images, _),) = data.train.batches(20, 8)
        assert images.shape == (12, 3, 8, 8)

    def test_a_single_class_is_refused(self, load: Load) -> None:
        cats = [(pixels, "cat") for pixels, _ in pictures(20)]
        with pytest.raises(ValueError, match=r"single class 'cat'|0 images of the class 'dog'"):
            load({"train": cats})

    def test_a_class_with_too_few_images_to_split_is_named(self, load: Load) -> None:
        those = [*pictures(20)[::2], *pictures(8)[1::2]]
        with pytest.raises(ValueError, match=r"has 4 images of the class 'dog' that can be read"):
            load({"train": those})

    def test_images_that_are_all_alike_are_refused(self, load: Load) -> None:
        grey = np.full((8, 8, 3), 90, np.uint8)
        with pytest.raises(
            ValueError, match=r"training images of .* are alike|few different images"
        ):
            load({"train": [(grey, CLASSES[number % 2]) for number in range(20)]})

    def test_shares_are_checked(self, load: Load) -> None:
        with pytest.raises(ValueError, match=r"data\.test_share must be in 0\.01\.\.0\.45"):
            load({"train": pictures(20)}, test_share=0.6)
