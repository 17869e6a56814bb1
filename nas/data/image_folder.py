"""``data=image_folder``: a folder of images, one folder for each class."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from nas.data.collection import Collection, Part, consecutive, image_data, part_named
from nas.data.dataset import ImageData
from nas.data.scan import digest_of, listing_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FolderSource:
    """An ``ImageSource`` of files."""

    root: Path
    files: Sequence[str]
    listing: str

    def open(self, index: int) -> Image.Image:
        """An image whose file is closed once it is decoded."""
        return Image.open(self.root / self.files[index])

    def name(self, index: int) -> str:
        """The path inside the folder."""
        return self.files[index]

    def digest(self, index: int) -> int:
        """Of the file's bytes."""
        return digest_of((self.root / self.files[index]).read_bytes())

    def fingerprint(self) -> str:
        """Of names, sizes and dates of all files."""
        return self.listing


def image_folder_data(
    *,
    path: str,
    seed: int,
    name: str | None = None,
    validation_share: float = 0.2,
    test_share: float = 0.2,
    scans: str | None = None,
) -> ImageData:
    """The images below a folder, each in a folder named like its class.

    Args:
        path: of ``train/CLASS/…`` with ``val/CLASS/…``, ``test/CLASS/…`` or both, or of
            ``CLASS/…``, which is split.
        seed: of the split.
        name: for reports; by itself that of the folder.
        validation_share, test_share: of the images that are split, each in 0.01..0.45.
        scans: where it is kept what was found by looking at all images; ``None``: nowhere.

    Raises:
        ValueError: there is no such folder, or its images make no data set.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"data.path={path} is no folder; give the one that holds a folder of images for each "
            "class"
        )
    return image_data(
        _collection(root, name or root.resolve().name),
        seed=seed,
        validation_share=validation_share,
        test_share=test_share,
        scans=None if scans is None else Path(scans),
    )


def _collection(root: Path, name: str) -> Collection:
    parts = _part_folders(root)
    class_names = _class_names(root, parts)
    files: list[str] = []
    others: list[str] = []
    labels: list[int] = []
    lengths = {}
    for part, folder in parts.items():
        begun = len(files)
        for label, class_name in enumerate(class_names):
            found, of_other_kinds = _files_below(folder / class_name, root)
            if not found:
                raise ValueError(_no_images(folder / class_name, of_other_kinds))
            files += found
            others += of_other_kinds
            labels += [label] * len(found)
        lengths[part] = len(files) - begun
    listing = listing_of((root / file for file in files), root)
    return Collection(
        name=name,
        title=str(root),
        source=FolderSource(root=root, files=files, listing=listing),
        labels=np.array(labels, np.int64),
        class_names=class_names,
        parts=consecutive(lengths),
        notes=(*_folders_left_out(root, parts), *_left_out(root, len(files), others)),
    )


def _no_images(folder: Path, others: Sequence[str]) -> str:
    if not others:
        return f"{folder} holds no images; add some, or take the folder away"
    return (
        f"{folder} holds no images, only files of kinds that pillow does not read "
        f"({len(others):,}), such as {others[0]}; convert them, or take the folder away"
    )


def _left_out(root: Path, images: int, others: Sequence[str]) -> tuple[str, ...]:
    if not others:
        return ()
    return (
        f"{len(others):,} of {images + len(others):,} files of {root} are of kinds that pillow "
        f"does not read and are left out, such as {others[0]}",
    )


def _folders_left_out(root: Path, parts: dict[Part, Path]) -> tuple[str, ...]:
    """What lies beside the folders of parts: a test folder without folders of classes, say."""
    if root in parts.values():
        return ()
    used = {folder.name for folder in parts.values()}
    others = [name for name in _subfolders(root) if name not in used]
    if not others:
        return ()
    return (
        f"{_listed(others)} of {root} {'is' if len(others) == 1 else 'are'} left out: beside "
        "train/CLASS/… only val/CLASS/… and test/CLASS/… are looked at",
    )


def _part_folders(root: Path) -> dict[Part, Path]:
    """The folders of the parts; the folder itself where there is none for training."""
    names = _subfolders(root)
    found: dict[Part, Path] = {}
    for part in Part:
        # A class may be called train, too; the folder of a part has folders of classes.
        folders = [
            root / name for name in names if part_named(name) is part and _subfolders(root / name)
        ]
        if len(folders) > 1:
            raise ValueError(f"{folders[0]} and {folders[1]} are the same part; keep one of them")
        if folders:
            found[part] = folders[0]
    if Part.TRAIN in found:
        return found
    if found and {folder.name for folder in found.values()} == set(names):
        raise ValueError(f"{root} holds {next(iter(found))} images, but no folder train")
    if names and all(_is_called_a_part(name) for name in names):
        raise ValueError(
            f"{root} holds {_listed(names)} alone, which are parts and no classes; expected are "
            "train/CLASS/… with val/CLASS/…, test/CLASS/… or both, or CLASS/…: put the images of "
            "each class into a folder of its name"
        )
    return {Part.TRAIN: root}


def _is_called_a_part(name: str) -> bool:
    """Also where it is numbered, as ``test1``."""
    return part_named(name.rstrip("0123456789_- ")) is not None


def _listed(names: Sequence[str]) -> str:
    *before, last = names
    return f"the folders {', '.join(before)} and {last}" if before else f"the folder {last}"


def _class_names(root: Path, parts: dict[Part, Path]) -> tuple[str, ...]:
    classes = {part: _subfolders(folder) for part, folder in parts.items()}
    expected = classes[Part.TRAIN]
    if not expected:
        raise ValueError(
            f"{root} has no folders; put the images of each class into a folder of its name"
        )
    for part, found in classes.items():
        if missing := sorted(set(expected) ^ set(found)):
            raise ValueError(
                f"{parts[part]} and {parts[Part.TRAIN]} must have the same classes, but "
                f"{missing[0]!r} is in one of them alone"
            )
    return tuple(expected)


def _subfolders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _files_below(folder: Path, root: Path) -> tuple[list[str], list[str]]:
    """Paths in ``root`` of the images in ``folder`` and below, and of all other files, by name."""
    images: list[str] = []
    others: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=_not_listed, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(parent).relative_to(root).as_posix()
        for name in names:
            if not name.startswith("."):
                known = Path(name).suffix.lower() in _extensions()
                (images if known else others).append(f"{inside}/{name}")
    return sorted(images), sorted(others)


def _not_listed(error: OSError) -> NoReturn:
    raise ValueError(
        f"{error.filename} cannot be listed: {error.strerror}; mend that, or take the folder away"
    ) from error


@cache
def _extensions() -> frozenset[str]:
    """Of all files that pillow reads."""
    known = Image.registered_extensions()
    return frozenset(extension for extension, kind in known.items() if kind in Image.OPEN)
