"""Images from parquet: read as they were written, and refused in one line where they cannot be."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks.parquet_images import images_of, read_parquet

Rows = list[tuple[Any, int]]


def _encoded(pixels: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def _image(value: int, size: int = 4) -> bytes:
    return _encoded(np.full((size, size, 3), value))


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``tables(train=rows)``: what pandas reads, without the package that reads parquet."""

    def give(**files: Rows | pd.DataFrame) -> None:
        frames = {
            name: rows if isinstance(rows, pd.DataFrame) else _frame(rows)
            for name, rows in files.items()
        }
        monkeypatch.setattr(pd, "read_parquet", lambda path: frames[str(path)])

    return give


def _frame(rows: Rows) -> pd.DataFrame:
    return pd.DataFrame({"image": [row[0] for row in rows], "label": [row[1] for row in rows]})


def test_images_are_decoded_and_normalised_by_the_training_file(
    tables: Callable[..., None],
) -> None:
    tables(
        train=[({"bytes": _image(0), "path": None}, 0), ({"bytes": _image(200)}, 1)],
        validation=[(_image(100), 1)],
    )
    data = images_of("train", "validation")
    assert data.num_classes == 2
    assert data.train.images.shape == (2, 3, 4, 4)
    assert data.train.labels.tolist() == [0, 1]
    # Pixels are 0 and 200: their mean is 100, and so is their deviation.
    first, second = data.train.images_at(torch.arange(2), 4)
    assert first.unique().tolist() == pytest.approx([-1.0])
    assert second.unique().tolist() == pytest.approx([1.0])
    ((grey, _),) = data.validation.batches(2, 4)
    assert grey.unique().tolist() == pytest.approx([0.0], abs=1e-6)


def test_channels_come_first_and_grey_images_have_three(tables: Callable[..., None]) -> None:
    pixels = np.zeros((4, 4, 3))
    pixels[1, 2] = (10, 20, 30)
    tables(a=[(_encoded(pixels), 0), (_encoded(np.full((4, 4), 7)), 0)])
    images, _ = read_parquet(Path("a"))
    assert images[0, :, 1, 2].tolist() == [10, 20, 30]
    assert np.unique(images[1]).tolist() == [7]


def test_without_files_it_is_digits() -> None:
    data = images_of(None, None)
    assert data.num_classes == 10
    assert len(data.train) > 1000 > len(data.validation) > 500


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        ([(b"no image", 0)], [], "row 0 of train holds no image that can be decoded"),
        ([(None, 0)], [], "row 0 of train holds no image that can be decoded"),
        ([(_image(1), -1)], [], "the labels of train must be integers from 0"),
        ([(_image(1), 0), (_image(1, 8), 1)], [], "the images of train must all have the same"),
        ([], [], "train must have rows with the columns image and label, but has 0 rows"),
        (
            pd.DataFrame({"img": [b""], "label": [0]}),
            [],
            "train must have rows with the columns image and label, but has 1 rows with img, label",
        ),
        ([(_image(1), 0)], [(_image(1), 0)], "train, which has 1 classes of at least 2"),
        (
            [(_image(1), 0), (_image(2), 1)],
            [(_image(1), 2)],
            "labels of validation must be among those of train, which has 2 classes",
        ),
        (
            [(_image(1), 0), (_image(2), 1)],
            [(_image(1, 8), 1)],
            "train and validation must hold images of the same size",
        ),
        ([(_image(1), 0), (_image(1), 1)], [(_image(1), 1)], "all pixels of train are 1"),
    ],
)
def test_what_cannot_be_used_is_refused(
    train: Rows, validation: Rows, message: str, tables: Callable[..., None]
) -> None:
    tables(train=train, validation=validation)
    with pytest.raises(ValueError, match=message):
        images_of("train", "validation")


def test_one_file_is_not_enough() -> None:
    with pytest.raises(ValueError, match="--train and --validation go together"):
        images_of("train", None)


def test_what_reads_parquet_is_named_where_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> None:
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", fail)
    with pytest.raises(ValueError, match="pyarrow must be installed; the extra 'pruning'"):
        read_parquet(Path("a"))


def test_a_real_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    _frame([({"bytes": _image(3)}, 1)]).to_parquet(path)
    images, labels = read_parquet(path)
    assert np.unique(images).tolist() == [3]
    assert labels.tolist() == [1]
    path.write_bytes(b"no parquet")
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        read_parquet(path)
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        read_parquet(tmp_path / "none.parquet")
