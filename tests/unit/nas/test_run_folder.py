"""Run folders: whole files or none, one process at a time, the same settings throughout."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nas.run_folder import RunFolder

CONFIG: dict[str, Any] = {
    "target_latency": "15ms",
    "trials": 20,
    "reward": {"alpha": -0.07, "beta": -0.07},
    "final": {"learning_rate": 1e-5},
    "table": None,
}
MAY_CHANGE = frozenset({"trials"})


def _open(path: Path, **changed: Any) -> RunFolder:
    return RunFolder(path, CONFIG | changed, MAY_CHANGE)


def test_a_new_folder_keeps_the_settings(tmp_path: Path) -> None:
    folder = _open(tmp_path / "runs" / "first")
    assert not folder.is_resumed
    assert folder.path == tmp_path / "runs" / "first"
    assert "target_latency: 15ms" in (folder.path / "config.yaml").read_text()


def test_equal_settings_resume_and_trials_may_change(tmp_path: Path) -> None:
    _open(tmp_path).close()
    folder = _open(tmp_path, trials=40)
    assert folder.is_resumed
    assert "trials: 40" in (tmp_path / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"target_latency": "20ms"}, "target_latency=15ms, but now it is 20ms"),
        ({"reward": {"alpha": 0, "beta": -0.07}}, r"reward\.alpha=-0\.07, but now it is 0"),
        ({"reward": {"alpha": -0.07}}, r"reward\.beta=-0\.07, but now it is None"),
        ({"space": "mnasnet"}, "space=None, but now it is mnasnet"),
    ],
)
def test_other_settings_are_refused_and_the_one_that_differs_is_named(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    _open(tmp_path).close()
    before = (tmp_path / "config.yaml").read_text()
    with pytest.raises(ValueError, match=f"holds a run with {message}; .* another name=…"):
        _open(tmp_path, **changed)
    assert (tmp_path / "config.yaml").read_text() == before
    # Refused is not locked: the old settings go on.
    assert _open(tmp_path).is_resumed


@pytest.mark.parametrize("content", ["", "[1, 2]", "a: [", "a: !!python/object:os.system {}"])
def test_a_damaged_config_is_refused(tmp_path: Path, content: str) -> None:
    _open(tmp_path).close()
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(ValueError, match=r"config\.yaml is damaged.* another name=…"):
        _open(tmp_path)


def test_a_second_process_is_locked_out_until_the_first_is_done(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nas.run_folder import RunFolder\n"
        "folder = RunFolder(Path(sys.argv[1]), {}, frozenset()); print('open', flush=True)\n"
        "sys.stdin.read()"
    )
    repository = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=repository,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(ValueError, match=f"another process is working in {tmp_path}; wait"):
            RunFolder(tmp_path, {}, frozenset())
        other.kill()
    assert RunFolder(tmp_path, {}, frozenset()).is_resumed


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ValueError, match=r"cannot be written: Not a directory; .* runs=…"):
        _open(tmp_path / "file" / "run")


def test_files_are_whole_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    folder = _open(tmp_path)
    assert folder.write("figures/pareto.png", b"drawn") == tmp_path / "figures" / "pareto.png"
    with (tmp_path / "figures" / "pareto.png").open("rb") as reader:
        folder.write("figures/pareto.png", b"redrawn")
        # Who reads it meanwhile reads one file, not half of each.
        assert reader.read() == b"drawn"
    assert (tmp_path / "figures" / "pareto.png").read_bytes() == b"redrawn"
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["pareto.png"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _open(tmp_path)
    folder.write("best.yaml", b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        folder.write("best.yaml", b"new")
    assert (tmp_path / "best.yaml").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "best.yaml", "config.yaml"]


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = _open(tmp_path)
    assert folder.read_json("summary.json") is None
    folder.write_json("summary.json", {"verdict": "met", "ms": [1.5]})
    assert folder.read_json("summary.json") == {"verdict": "met", "ms": [1.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        folder.write_json("summary.json", {"ms": float("nan")})
    assert folder.read_json("summary.json") == {"verdict": "met", "ms": [1.5]}


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'precious.txt' and no run"):
        RunFolder(tmp_path, {"a": 1}, frozenset())
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert not (tmp_path / "config.yaml").exists()


def test_a_folder_whose_first_write_was_killed_is_begun_anew(tmp_path: Path) -> None:
    left = tmp_path / ".config.yaml.4711.tmp"
    left.write_text("target_latency: 15m")
    folder = _open(tmp_path)
    assert not folder.is_resumed
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "config.yaml"]

    folder.close()
    (tmp_path / "config.yaml").rename(left)
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds 'precious.txt' and no run"):
        _open(tmp_path)


def test_discarding_takes_back_only_what_was_new(tmp_path: Path) -> None:
    RunFolder(tmp_path / "new", {"a": 1}, frozenset()).discard()
    assert not (tmp_path / "new").exists()
    kept = RunFolder(tmp_path / "kept", {"a": 1}, frozenset())
    kept.close()
    RunFolder(tmp_path / "kept", {"a": 1}, frozenset()).discard()
    assert (tmp_path / "kept" / "config.yaml").exists()


def test_a_section_of_settings_may_change(tmp_path: Path) -> None:
    RunFolder(tmp_path, {"final": {"epochs": 2}, "finalists": 5}, frozenset({"final"})).close()
    RunFolder(tmp_path, {"final": {"epochs": 9}, "finalists": 5}, frozenset({"final"})).close()
    with pytest.raises(ValueError, match="finalists=5, but now it is 6"):
        RunFolder(tmp_path, {"final": {"epochs": 9}, "finalists": 6}, frozenset({"final"}))
