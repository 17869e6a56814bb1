"""``data=huggingface``: an image data set in the format of Hugging Face's ``datasets``."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from latency.console import Terminal
from nas.data.collection import Collection, Part, consecutive, image_data, part_named
from nas.data.dataset import ImageData
from nas.data.scan import digest_of, listing_of
from nas.data.source import place_in

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowsSource:
    """An ``ImageSource`` of the encoded images of some tables, one after another."""

    tables: Sequence["Dataset"]
    names: Sequence[str]
    column: str
    listing: str

    def open(self, index: int) -> Image.Image:
        """An image, from the bytes in its row."""
        return Image.open(io.BytesIO(self._content(index)))

    def name(self, index: int) -> str:
        """The part and the number of the row, and the file that it once was."""
        table, row = place_in(self.tables, index)
        path = self.tables[table][row][self.column]["path"]
        return f"{self.names[table]}[{row}]" + (f" ({path})" if path else "")

    def digest(self, index: int) -> int:
        """Of the encoded image."""
        return digest_of(self._content(index))

    def fingerprint(self) -> str:
        """Of all tables."""
        return self.listing

    def _content(self, index: int) -> bytes:
        table, row = place_in(self.tables, index)
        value: dict[str, Any] = self.tables[table][row][self.column]
        content: bytes | None = value["bytes"]
        return Path(value["path"]).read_bytes() if content is None else content


def huggingface_data(
    *,
    path: str,
    seed: int,
    config: str | None = None,
    image: str | None = None,
    label: str | None = None,
    name: str | None = None,
    validation_share: float = 0.2,
    test_share: float = 0.2,
    scans: str | None = None,
) -> ImageData:
    """A data set by name, a parquet file, or a folder of parquet files.

    Args:
        path: the name, file or folder; in a folder, files are of the part that their name begins
            with, as ``train-00000-of-00002.parquet``.
        seed: of the split, where the data set lacks parts.
        config: which of the data sets of that name.
        image, label: the columns; by themselves the only ones of images and of class labels.
        name: for reports; by itself the last part of ``path``.
        validation_share, test_share: of the images that are split, each in 0.01..0.45.
        scans: where it is kept what was found by looking at all images; ``None``: nowhere.

    Raises:
        ValueError: ``datasets`` is not installed, or there is no such data set, or none of images.
    """
    return image_data(
        _collection(path, name or Path(path).stem, config, image, label),
        seed=seed,
        validation_share=validation_share,
        test_share=test_share,
        scans=None if scans is None else Path(scans),
    )


def _collection(
    path: str, name: str, config: str | None, image: str | None, label: str | None
) -> Collection:
    tables, listing = _load(path, config)
    first = tables[Part.TRAIN]
    image_column = _column(first, image, "Image", "image", path)
    label_column = _column(first, label, "ClassLabel", "label", path)
    by_part = {part: np.asarray(table[label_column][:]) for part, table in tables.items()}
    # What is published for a contest has no labels in its test part: -1.
    for part in [part for part, each in by_part.items() if (each == -1).all()]:
        del by_part[part], tables[part]
    labels = np.concatenate([np.empty(0, np.int64), *by_part.values()])
    if labels.dtype.kind not in "iu" or labels.min(initial=0) < 0:
        raise ValueError(f"the column {label_column} of {path} must be class numbers from 0")
    return Collection(
        name=name,
        title=path,
        source=RowsSource(
            tables=[_encoded(table, image_column) for table in tables.values()],
            names=list(tables),
            column=image_column,
            listing=hashlib.sha256(f"{listing} {image_column}".encode()).hexdigest()[:32],
        ),
        labels=labels.astype(np.int64),
        class_names=_class_names(first, label_column, labels),
        parts=consecutive({part: len(table) for part, table in tables.items()}),
    )


def _load(path: str, config: str | None) -> tuple[dict[Part, "Dataset"], str]:
    """The tables by part, and what they are known again by."""
    try:
        import datasets
    except ImportError:
        raise ValueError(
            "data=huggingface needs the package datasets; install chronas[huggingface]"
        ) from None
    place = Path(path).expanduser()
    files = sorted(place.glob("**/*.parquet")) if place.is_dir() else [place]
    local = place.exists() or path.endswith(".parquet")
    datasets.disable_progress_bars()  # there is one of ours
    try:
        with Terminal().progress(f"loading {path}"):
            if local:
                by_part = {
                    part: [str(file) for file in those]
                    for part, those in _by_part(files, path).items()
                }
                found = datasets.load_dataset("parquet", data_files=by_part)
            else:
                found = datasets.load_dataset(path, config)
    # Whatever goes wrong with the network, the hub or a file, each library below raises its own.
    except Exception as error:
        raise ValueError(
            f"data.path={path} cannot be loaded ({' '.join(str(error).split())[:200]}); give the "
            "name of a data set, a parquet file, or a folder of such files"
        ) from None
    tables = _known_parts(found, path)
    if local:
        return tables, listing_of(iter(files), Path("/") if not place.is_dir() else place)
    return tables, " ".join(str(table._fingerprint) for table in tables.values())


def _by_part(files: Sequence[Path], path: str) -> dict[str, list[Path]]:
    """Files by the part that their name, or their folder's, begins with; else all train."""
    if not files:
        raise ValueError(f"{path} holds no parquet files")
    found: dict[str, list[Path]] = {}
    for file in files:
        begins = file.name.split("-")[0].split(".")[0]
        part = part_named(begins) or part_named(file.parent.name) or Part.TRAIN
        found.setdefault(part.value, []).append(file)
    return found


def _known_parts(found: "DatasetDict", path: str) -> dict[Part, "Dataset"]:
    tables = {part: table for split, table in found.items() if (part := part_named(split))}
    if Part.TRAIN not in tables:
        raise ValueError(f"{path} has no part for training; it has {', '.join(found)}")
    # In the order of parts, whatever that of the data set is.
    return {part: tables[part] for part in Part if part in tables}


def _column(table: "Dataset", given: str | None, kind: str, field: str, path: str) -> str:
    """The column that is given, else the only one of its kind, else the one called so."""
    columns: list[str] = list(table.features)
    if given is not None:
        if given not in columns:
            raise ValueError(
                f"data.{field} must be a column of {path}, which are {', '.join(columns)}, but got "
                f"{given!r}"
            )
        return given
    ours: list[str] = [
        name for name, feature in table.features.items() if type(feature).__name__ == kind
    ]
    if len(ours) == 1:
        return ours[0]
    if field in (ours or columns):
        return field
    raise ValueError(
        f"{path} has {len(ours) or 'no'} columns of {field}s among {', '.join(columns)}; say which "
        f"with data.{field}=…"
    )


def _encoded(table: "Dataset", column: str) -> "Dataset":
    """The image alone, as it lies in its file."""
    import datasets

    return table.select_columns([column]).cast_column(column, datasets.Image(decode=False))


def _class_names(table: "Dataset", column: str, labels: "np.ndarray[Any, Any]") -> tuple[str, ...]:
    names = getattr(table.features[column], "names", None)
    return tuple(names or [str(number) for number in range(int(labels.max(initial=-1)) + 1)])
