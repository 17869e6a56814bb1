"""The far end of a connection; the contract tests talk to it."""

import ast
import sys
from pathlib import Path

import pytest

from latency.devices import remote

HEADER, A, B, C = b'{"format": 1}\n', b'{"a": 1}\n', b'{"b": 1}\n', b'{"c": 1}\n'


def test_it_stands_alone() -> None:
    tree = ast.parse(Path(remote.__file__).read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
    assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names


@pytest.mark.parametrize(
    ("known", "held", "expected"),
    [
        (b"", b"", b""),
        (HEADER + A, b"", HEADER + A),
        (b"", HEADER + A, HEADER + A),
        (HEADER + A + B, HEADER + A, HEADER + A + B),
        (HEADER + B, HEADER + A + B + C, HEADER + B + A + C),
        (HEADER + A, HEADER + A + C + B[:4], HEADER + A + C),
        (HEADER + A, b'{"format": 2}\n' + B, HEADER + A),
        (HEADER + A, HEADER[:5], HEADER + A),
    ],
)
def test_a_table_of_what_both_ends_have(known: bytes, held: bytes, expected: bytes) -> None:
    assert remote.merged(known, held) == expected


def test_a_folder_is_of_one_process_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "LOCK_SECONDS", 0)
    folder = tmp_path / "one"
    with remote.locked(folder):
        with (
            pytest.raises(OSError, match="another process there measures into this table"),
            remote.locked(folder),
        ):
            pass
        with remote.locked(tmp_path / "two"):
            pass
    with remote.locked(folder):
        pass


def test_a_lock_of_a_folder_that_was_removed_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    with remote.locked(folder):
        (folder / remote.LOCK).unlink()
        folder.rmdir()
        with remote.locked(folder):
            assert (folder / remote.LOCK).exists()


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    remote.write_whole(path, b"old")
    path.with_name("file.tmp").mkdir()
    with pytest.raises(OSError, match=r"file\.tmp"):
        remote.write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_only_whole_lines_are_sent(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = tmp_path / "table.jsonl"
    tail = remote.Tail(path, len(HEADER))
    tail.send()
    path.write_bytes(HEADER + A + B[:4])
    tail.send()
    assert capfdbinary.readouterr().out == A
    path.write_bytes(HEADER + A + B + C)
    tail.send()
    assert capfdbinary.readouterr().out == B + C
