"""A run's folder: whole files or none, one process at a time, the same settings throughout."""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from latency.files import write_json, write_whole

_TESTS = "tests.json"
CONFIG_FILE = "config.yaml"
LOCK_FILE = ".lock"


class Folder:
    """A folder of files that are whole or absent."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def remove(self, *names: str) -> None:
        """Delete files of the folder, where they are there."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> Path:
        """Write a file under a temporary name and rename it."""
        return write_whole(self.path / name, content)

    def write_json(self, name: str, content: object) -> Path:
        return write_json(self.path / name, content)

    def read_json(self, name: str) -> Any | None:
        """The content of a JSON file of the folder, or ``None`` if it is not there.

        Raises:
            ValueError: it is damaged.
        """
        path = self.path / name
        try:
            return json.loads(path.read_text()) if path.exists() else None
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged ({error}); delete it, and what it held is made again"
            ) from None


class RunFolder(Folder):
    """``runs/<name>/``, locked for this process.

    Raises:
        ValueError: it cannot be written, another process works in it, or it holds something else
            than a run with these settings. ``may_change`` names settings, or sections of them,
            that may differ.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], may_change: frozenset[str]) -> None:
        super().__init__(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path / LOCK_FILE)
        except OSError as error:
            raise ValueError(
                f"the run folder {path} cannot be written: {error.strerror}; give another runs=…"
            ) from None
        self.is_resumed = (path / CONFIG_FILE).exists()
        try:
            if self.is_resumed:
                _check_same(path, flat(_saved(path)), flat(config), may_change)
            else:
                _check_empty(path)
        except ValueError:
            self.close()
            raise
        self.write(CONFIG_FILE, yaml.safe_dump(dict(config), sort_keys=False).encode())

    def close(self) -> None:
        """Let another process work in the folder."""
        self._lock.close()

    def discard(self) -> None:
        """Remove the folder, where the run was not there before this process."""
        self.close()
        if not self.is_resumed:
            shutil.rmtree(self.path, ignore_errors=True)


def config_folder(path: Path) -> Path | None:
    """Where the settings of a run are: of several targets each has a folder in the run's."""
    folders = [path, path.resolve().parent]
    return next((each for each in folders if (each / CONFIG_FILE).exists()), None)


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run.

    Raises:
        ValueError: they cannot be read, or do not say which data the run had.
    """
    path = folder / CONFIG_FILE
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("data"), dict):
        raise ValueError(
            f"{path} does not say which data the run had; was it made by this version?"
        )
    return config


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """While the context is open, no other process works in a run's folder, which is there.

    Raises:
        ValueError: another one does, or the folder cannot be written.
    """
    try:
        lock = _lock(path / LOCK_FILE)
    except OSError as error:
        raise ValueError(f"the run folder {path} cannot be written: {error.strerror}") from None
    with lock:
        yield


def _lock(path: Path) -> BinaryIO:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(
            f"another process is working in {path.parent}; wait for it, or give this run another "
            "name=…"
        ) from None
    return file


def _saved(path: Path) -> dict[str, Any]:
    try:
        saved = yaml.safe_load((path / CONFIG_FILE).read_text())
    except (yaml.YAMLError, UnicodeDecodeError):
        saved = None
    if not isinstance(saved, dict):
        raise ValueError(
            f"{path / CONFIG_FILE} is damaged, and says no more which settings the run had; give "
            "this run another name=…"
        )
    return saved


def _check_empty(path: Path) -> None:
    # A process that was killed while it wrote the settings left a part of them.
    for begun in path.glob(f".{CONFIG_FILE}.*.tmp"):
        begun.unlink()
    if others := sorted(entry.name for entry in path.iterdir() if entry.name != LOCK_FILE):
        raise ValueError(
            f"{path} holds {others[0]!r:.80} and no run; give this run another name=… or runs=…"
        )


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` → ``{"a.b": 1}``."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _check_same(
    path: Path, saved: dict[str, Any], given: dict[str, Any], may_change: frozenset[str]
) -> None:
    for key in saved | given:
        changeable = any(key == name or key.startswith(f"{name}.") for name in may_change)
        if not changeable and saved.get(key) != given.get(key):
            raise ValueError(
                f"{path} holds a run with {key}={saved.get(key)}, but now it is {given.get(key)}; "
                f"give this run another name=…, or go on with the old setting"
            )


def count_test(folder: Folder, accuracy: float) -> int:
    """Note a look at the test part, and what it said; returns how many there have been."""
    tests = [*(folder.read_json(_TESTS) or []), accuracy]
    folder.write_json(_TESTS, tests)
    return len(tests)
