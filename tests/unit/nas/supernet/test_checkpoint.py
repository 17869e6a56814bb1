"""The supernet's file: whole or absent, and only for what it was made for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.data import MemorySplit, Split
from nas.supernet import SupernetSettings
from nas.supernet.checkpoint import Checkpoint, load_checkpoint, purpose_of, save_checkpoint
from nas.training import TrainSettings
from search_spaces.spaces import SearchSpace

SETTINGS = SupernetSettings(train=TrainSettings(epochs=2))
PURPOSE = {"seed": "0", "resolution": "32"}
CHECKPOINT = Checkpoint(tensors={"a.b": torch.arange(6.0).view(2, 3)}, training={"step": 7})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "supernet.pt"


def test_what_was_kept_comes_back(path: Path) -> None:
    assert load_checkpoint(path, PURPOSE) is None
    save_checkpoint(path, PURPOSE, CHECKPOINT)
    kept = load_checkpoint(path, PURPOSE)
    assert kept is not None
    assert kept.training == {"step": 7}
    assert list(kept.tensors) == ["a.b"]
    assert torch.equal(kept.tensors["a.b"], CHECKPOINT.tensors["a.b"])
    assert [file.name for file in path.parent.iterdir()] == ["supernet.pt"]


def test_a_save_that_fails_leaves_the_one_before(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(path, PURPOSE, CHECKPOINT)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, PURPOSE, replace(CHECKPOINT, training=None))
    kept = load_checkpoint(path, PURPOSE)
    assert kept is not None
    assert kept.training == {"step": 7}
    assert [file.name for file in path.parent.iterdir()] == ["supernet.pt"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": "1"}, "a supernet of another seed (0, but now it is 1); go on with the old one"),
        ({"resolution": "16"}, "another resolution (32, but now it is 16)"),
        ({"settings.samples": "3"}, "another settings.samples (None, but now it is 3)"),
    ],
)
def test_weights_for_something_else_are_refused(
    path: Path, given: dict[str, str], message: str
) -> None:
    save_checkpoint(path, PURPOSE, CHECKPOINT)
    with pytest.raises(ValueError, match="holds a supernet") as caught:
        load_checkpoint(path, PURPOSE | given)
    assert message in str(caught.value)
    assert "or delete the file to train a new one" in str(caught.value)


def _cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(255 - byte for byte in content[middle : middle + 64])


@pytest.mark.parametrize("damage", [_cut, _flipped, lambda _: b"", lambda _: b"no weights\n"])
def test_a_damaged_file_is_no_traceback(path: Path, damage: Callable[[bytes], bytes]) -> None:
    save_checkpoint(path, PURPOSE, CHECKPOINT)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"supernet.pt is damaged .* delete it, and the supernet"):
        load_checkpoint(path, PURPOSE)


@pytest.mark.parametrize("content", [[1, 2], {"format": 99}, {"a": torch.zeros(1)}])
def test_something_else_than_a_supernet_is_named(path: Path, content: object) -> None:
    path.parent.mkdir()
    torch.save(content, path)
    with pytest.raises(ValueError, match="holds no supernet that this version can read"):
        load_checkpoint(path, PURPOSE)


def test_code_in_a_file_is_not_run(path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.mkdir, (path.parent / "ran",))

    path.parent.mkdir()
    torch.save(Code(), path)
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(path, PURPOSE)
    assert not (path.parent / "ran").exists()


def test_all_that_bears_on_the_weights_is_their_purpose(
    small_space: SearchSpace, wider_space: SearchSpace, small_split: Split
) -> None:
    def purpose(
        space: SearchSpace = small_space,
        data: Split = small_split,
        settings: SupernetSettings = SETTINGS,
        resolution: int = 32,
        seed: int = 0,
    ) -> dict[str, str]:
        return dict(purpose_of(space, data, settings, resolution=resolution, seed=seed))

    other_data = MemorySplit(images=small_split.images, labels=small_split.labels.flip(0))
    changed: dict[str, dict[str, Any]] = {
        "space": {"space": wider_space},
        "data": {"data": other_data},
        "seed": {"seed": 1},
        "resolution": {"resolution": 16},
        "settings.samples": {"settings": replace(SETTINGS, samples=1)},
        "settings.distillation": {"settings": replace(SETTINGS, distillation=0.5)},
        "settings.train.epochs": {"settings": replace(SETTINGS, train=TrainSettings(epochs=3))},
    }
    usual = purpose()
    for name, arguments in changed.items():
        other = purpose(**arguments)
        assert {key for key in usual if usual[key] != other[key]} == {name}
    same = replace(
        SETTINGS,
        train=replace(SETTINGS.train, threads=2),
        recalibration_batches=1,
        checkpoint_s=1.0,
    )
    assert purpose(settings=same) == usual


def test_the_same_blocks_deployed_at_another_size_are_the_same_space(
    small_space: SearchSpace, small_split: Split
) -> None:
    larger = small_space.with_resolutions(2 * small_space.resolution)
    first, second = (
        purpose_of(space, small_split, SETTINGS, resolution=32, seed=0)
        for space in (small_space, larger)
    )
    assert first == second
