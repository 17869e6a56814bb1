"""The local copy of a table only ever grows."""

import json
from pathlib import Path
from typing import Any

import pytest

from latency.devices.base import DeviceError
from latency.devices.table_copy import TableCopy
from latency.profile import FORMAT_VERSION, TABLE_FORMAT

HEADER: dict[str, Any] = {"format": TABLE_FORMAT, "version": FORMAT_VERSION, "threads": 1}


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _visit(number: int, key: str = "a block") -> bytes:
    return _line(
        {
            "key": key,
            "latency_ms": 1.0,
            "median_ms": 1.0,
            "reference_ms": 1.0,
            "runs": 3,
            "at_s": number,
        }
    )


def test_lines_are_in_the_file_once_they_are_saved(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.jsonl"
    copy = TableCopy(path, HEADER)
    assert copy.content == b""
    for line in (_line(HEADER), _visit(1)):
        copy.add(line)
    assert not path.exists()
    copy.save()
    copy.add(_visit(2))
    copy.save()
    assert path.read_bytes() == _line(HEADER) + _visit(1) + _visit(2)
    assert list(path.parent.iterdir()) == [path]


def test_lines_that_are_there_are_not_added_again(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(_line(HEADER) + _visit(1))
    copy = TableCopy(path, HEADER)
    # Another process was faster.
    path.write_bytes(copy.content + _visit(2))
    for line in (_line(HEADER), _visit(2), _visit(3)):
        copy.add(line)
    copy.save()
    assert path.read_bytes() == copy.content + _visit(2) + _visit(3)


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(_line(HEADER) + _visit(1) + b'{"key": "to')
    copy = TableCopy(path, HEADER)
    assert copy.content == _line(HEADER) + _visit(1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"somebody": "else"}', "is no latency table"),
        (_line(HEADER | {"threads": 4}), "threads is 4 there and 1 here; give another table$"),
        (_line(HEADER) + b"{}\n", "line 2: key and role must be names"),
    ],
)
def test_what_is_another_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(content)
    with pytest.raises(DeviceError, match=message):
        TableCopy(path, HEADER)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [b'{"key": 1}\n', b"{garbage\n", _visit(1, key="another").replace(b"1.0", b"-1", 1), _visit(1)],
)
def test_lines_of_no_table_do_not_get_into_the_file(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "table.jsonl"
    held = _line(HEADER) + _visit(1).replace(b"1.0", b"2.0", 1)
    path.write_bytes(held)
    copy = TableCopy(path, HEADER)
    copy.add(line)
    with pytest.raises(DeviceError, match="line 3: "):
        copy.save()
    assert path.read_bytes() == held
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "table.jsonl", tmp_path / "link"
    path.write_bytes(_line(HEADER))
    link.symlink_to(path)
    copy = TableCopy(link, HEADER)
    copy.add(_visit(1))
    copy.save()
    assert link.is_symlink()
    assert path.read_bytes() == _line(HEADER) + _visit(1)
