"""Columns and parts of a data set of Hugging Face's, and what is said of one that has none."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nas.data import ImageData
from nas.data.huggingface import huggingface_data

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def _png(rng: np.random.Generator) -> dict[str, Any]:
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(content, "png")
    return {"bytes": content.getvalue(), "path": "photo.png"}


def _write(path: Path, number: int = 20, *, seed: int = 0, **columns: Any) -> Path:
    """A parquet file of ``img`` and ``label``, or of other columns: features and values."""
    rng = np.random.default_rng(seed)
    known = {
        "img": (datasets.Image(), [_png(rng) for _ in range(number)]),
        "label": (
            datasets.ClassLabel(names=["cat", "dog"]),
            [index % 2 for index in range(number)],
        ),
    }
    all_columns = {name: value for name, value in (known | columns).items() if value is not None}
    table = datasets.Dataset.from_dict(
        {name: values for name, (_, values) in all_columns.items()},
        features=datasets.Features({name: kind for name, (kind, _) in all_columns.items()}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(str(path))
    return path


def _load(path: Path, **settings: Any) -> ImageData:
    return huggingface_data(path=str(path), seed=0, **settings)


def _sizes(data: ImageData) -> tuple[int, int, int]:
    return len(data.train), len(data.validation), len(data.test)


def test_columns_are_found_by_what_they_hold(tmp_path: Path) -> None:
    numbers = (datasets.Value("int64"), list(range(20)))
    data = _load(_write(tmp_path / "a.parquet", id=numbers))
    assert data.class_names == ("cat", "dog")
    assert (data.name, _sizes(data)) == ("a", (12, 4, 4))


def test_of_several_columns_one_is_named(tmp_path: Path) -> None:
    kinds = datasets.ClassLabel(names=["cat", "dog", "bird", "fish"])
    path = _write(
        tmp_path / "a.parquet",
        label=None,
        coarse=(kinds, [0, 1] * 10),
        fine=(kinds, [0, 1, 2, 3] * 5),
    )
    with pytest.raises(ValueError, match=r"has 2 columns of labels .* say which with data\.label="):
        _load(path)
    assert _load(path, label="fine").num_classes == 4
    with pytest.raises(ValueError, match=r"data\.label must be a column of .* but got 'middle'"):
        _load(path, label="middle")


def test_plain_numbers_are_classes(tmp_path: Path) -> None:
    numbers = (datasets.Value("int64"), [0, 1] * 10)
    assert _load(_write(tmp_path / "a.parquet", label=numbers)).class_names == ("0", "1")
    words = (datasets.Value("string"), ["cat", "dog"] * 10)
    with pytest.raises(ValueError, match=r"the column label of .* must be class numbers from 0"):
        _load(_write(tmp_path / "b.parquet", label=words))


def test_files_are_of_the_part_that_they_are_named_after(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _write(folder / "train-00000-of-00002.parquet", 10)
    _write(folder / "train-00001-of-00002.parquet", 12, seed=1)
    _write(folder / "data/validation.parquet", 6, seed=2)
    _write(folder / "test/0000.parquet", 4, seed=3)
    assert _sizes(_load(folder)) == (22, 6, 4)


def test_capitals_in_names_of_parts_do_not_matter(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _write(folder / "Train-00000-of-00001.parquet", 10)
    _write(folder / "training.parquet", 12, seed=1)
    _write(folder / "Valid/0000.parquet", 6, seed=2)
    _write(folder / "Testing.parquet", 4, seed=3)
    assert _sizes(_load(folder)) == (22, 6, 4)


def test_a_test_part_without_labels_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    _write(folder / "train.parquet")
    hidden = (datasets.Value("int64"), [-1] * 6)
    _write(folder / "test.parquet", 6, seed=1, label=hidden)
    plain = (datasets.Value("int64"), [0, 1] * 10)
    _write(folder / "train.parquet", label=plain)
    assert _sizes(_load(folder)) == (12, 4, 4)


def test_a_damaged_image_is_named_by_its_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [_png(rng) for _ in range(20)]
    images[7]["bytes"] = images[7]["bytes"][:60]
    with pytest.raises(OSError, match="truncated") as raised:
        Image.open(io.BytesIO(images[7]["bytes"])).load()
    data = _load(_write(tmp_path / "a.parquet", img=(datasets.Image(), images)))
    assert data.notes == (
        f"1 of 20 images of {tmp_path}/a.parquet cannot be read and are skipped: "
        f"train[7] (photo.png); the first: {raised.value}",
    )


def test_another_file_is_looked_at_anew(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.parquet")
    first = _load(path, scans=str(tmp_path / "scans"))
    again = _load(path, scans=str(tmp_path / "scans"))
    assert first.train.fingerprint() == again.train.fingerprint()
    assert len(list((tmp_path / "scans").iterdir())) == 1
    _load(_write(path, 24, seed=5), scans=str(tmp_path / "scans"))
    assert len(list((tmp_path / "scans").iterdir())) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"^data\.path=.*/a\.parquet cannot be loaded \(.*\); give the name of a data set"),
        (b"no parquet", r"^data\.path=.*/a\.parquet cannot be loaded"),
    ],
)
def test_what_is_no_file_of_rows(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        _load(tmp_path / "a.parquet")
    assert "\n" not in str(raised.value)


def test_a_folder_without_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no parquet files"):
        _load(tmp_path)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match=r"needs the package datasets; install chronas\[hugg"):
        _load(tmp_path)
