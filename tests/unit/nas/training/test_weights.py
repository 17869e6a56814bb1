"""Files of weights: what is read, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.training.checkpoint import FORMAT, save_checkpoint
from nas.training.state_file import write_state
from nas.training.weights import load_weights, save_weights

STATE = {"one.weight": torch.arange(6.0).view(2, 3), "one.bias": torch.ones(2)}


def _assert_is_state(loaded: dict[str, Tensor]) -> None:
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[name], STATE[name]) for name in STATE)


def test_weights_are_read_back(tmp_path: Path) -> None:
    _assert_is_state(load_weights(save_weights(tmp_path / "a.pt", STATE)))


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_weights_are_found_beside_what_else_was_saved(tmp_path: Path, wrapper: str) -> None:
    content = {"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: STATE}
    torch.save(content, tmp_path / "a.pth")
    _assert_is_state(load_weights(tmp_path / "a.pth"))


@pytest.mark.parametrize("has_average", [True, False])
def test_of_a_trainings_checkpoint_the_average_is_read_or_else_the_weights(
    tmp_path: Path, has_average: bool
) -> None:
    other = {name: value + 1 for name, value in STATE.items()}
    learner = {"model": other, "average": STATE} if has_average else {"model": STATE}
    state = {"step": 3, "learner": {"average": None, **learner, "optimizer": {"state": {}}}}
    save_checkpoint(tmp_path / "checkpoint.pt", {"seed": "1"}, state)
    _assert_is_state(load_weights(tmp_path / "checkpoint.pt"))
    write_state(tmp_path / "newer.pt", FORMAT + 1, {"purpose": {}, "state": state})
    with pytest.raises(ValueError, match="must hold a state_dict"):
        load_weights(tmp_path / "newer.pt")


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    _assert_is_state(load_weights(path))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"a\.safetensors holds no weights that safetensors can"):
        load_weights(path)
    path.unlink()
    with pytest.raises(ValueError, match=r"a\.safetensors cannot be read: No such file"):
        load_weights(path)


def test_nothing_else_is_read(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": {"b": torch.ones(1)}}, tmp_path / "nested.pt")
    torch.save({"state_dict": {"a": 1}}, tmp_path / "number.pt")
    (tmp_path / "text.pt").write_text("no weights")
    torch.save(Path("/"), tmp_path / "object.pt")
    for name, message in (
        ("list", "must hold a state_dict"),
        ("nested", "must hold a state_dict"),
        ("number", "must hold a state_dict"),
        ("text", "holds no weights that torch can read safely"),
        ("object", "holds no weights that torch can read safely"),
        ("none", "cannot be read: No such file"),
    ):
        with pytest.raises(ValueError, match=message):
            load_weights(tmp_path / f"{name}.pt")


class _Writes:
    """An object whose pickle opens a file for writing when it is read."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self._path), "w")


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "safetensors"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_does_not_run(tmp_path: Path, suffix: str, is_zip: bool) -> None:
    path, written = tmp_path / f"a.{suffix}", tmp_path / "written"
    content = {"state_dict": STATE, "callback": _Writes(written)}
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(ValueError, match="holds no weights that") as refused:
        load_weights(path)
    assert "\n" not in str(refused.value)
    assert not written.exists()
    trusted = path.rename(tmp_path / "trusted.pt")  # torch tells safetensors by their suffix, too
    torch.load(trusted, weights_only=False)["callback"].close()
    assert written.exists(), "the file holds no such code, and proves nothing"


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_of_a_damaged_file_one_line_is_said(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "a.pt"
    torch.save(STATE, path, _use_new_zipfile_serialization=is_zip)
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, max(1, len(whole) // 150)):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="holds no weights that torch can") as refused:
            load_weights(path)
        assert "\n" not in str(refused.value)
