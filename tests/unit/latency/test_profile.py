"""profile.py: the table that it goes on with, its command line, and its arithmetic."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from latency import profile
from latency.profile import ProfileError, heartbeat, main, open_table
from latency.table import LatencyTable

MakePlan = Callable[..., Path]
HEADER = {"format": "chronas-latency-table", "version": 1, "threads": 1}
HEADER_LINE = json.dumps(HEADER).encode() + b"\n"


def test_a_new_table_begins_with_the_header_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "table.jsonl"
    with open_table(path, HEADER) as (_, done):
        assert done == set()
    assert path.read_bytes() == HEADER_LINE


@pytest.mark.parametrize("torn", [b"", HEADER_LINE[:1], HEADER_LINE[:30], HEADER_LINE[:-1]])
def test_a_torn_header_is_written_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(torn)
    with open_table(path, HEADER) as (_, done):
        assert done == set()
    assert path.read_bytes() == HEADER_LINE


def test_a_torn_last_line_is_cut_off_and_what_was_done_is_known(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(HEADER_LINE + b'{"key": "a"}\n{"key": "b"')
    with open_table(path, HEADER) as (_, done):
        assert done == {"a"}
    assert path.read_bytes() == HEADER_LINE + b'{"key": "a"}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a photograph without a line break", "is no latency table"),
        (b"a\nletter\nhalf a li", "line 1: "),
        (b'{"format": "chronas-plan"}\nx', "line 1: no header of a latency table"),
        (HEADER_LINE.replace(b'"threads": 1', b'"threads": 4') + b"x", "threads is 4 there and 1"),
        (HEADER_LINE.replace(b"{", b'{"more": 1, ') + b"x", "more is 1 there and None here"),
        (HEADER_LINE + b'nonsense\n{"key": "a"}\nx', "line 2: "),
        (HEADER_LINE + b'{"key": "a"}\n{"key": "a"}\nx', "line 3: repeats line 2"),
        (HEADER_LINE + b'{"name": "a"}\nx', "line 2: key must be a name, but is None"),
    ],
)
def test_a_file_that_is_refused_is_not_changed(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=message), open_table(path, HEADER):
        pass
    assert path.read_bytes() == content


def test_a_table_that_another_process_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "LOCK_SECONDS", 0.2)
    path = tmp_path / "table.jsonl"
    with (
        open_table(path, HEADER),
        pytest.raises(ProfileError, match=r"table\.jsonl is being written by another process"),
        open_table(path, HEADER),
    ):
        pass


def test_a_mistake_is_answered_in_one_line_and_exit_code_2(
    small_plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    mistakes = [
        [str(tmp_path / "gone.plan"), "--out", str(tmp_path / "t")],
        [str(tmp_path), "--out", str(tmp_path / "t")],
        [str(tmp_path / "file"), "--out", str(tmp_path / "t")],
        [str(small_plan), "--out", str(tmp_path)],
        [str(small_plan), "--out", str(tmp_path / "file" / "t")],
        [str(small_plan), "--out", str(small_plan)],
        [str(small_plan)],
        [str(small_plan), "--out", str(tmp_path / "t"), "--fast"],
    ]
    plan = small_plan.read_bytes()
    for arguments in mistakes:
        try:
            code: object = main(arguments)
        except SystemExit as end:
            code = end.code
        error = capsys.readouterr().err
        assert (code, error.count("\n")) == (2, 1), (arguments, error)
    assert small_plan.read_bytes() == plan
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_ends_in_one_line_and_the_rest_is_measured_later(
    bent_plan: MakePlan, tmp_path: Path
) -> None:
    # A limit on file sizes stands for the disk: the table is filled up to just below it, and the
    # weights file, which is written in pieces of 4 MiB, fits.
    table, limit = tmp_path / "table.jsonl", 5_000_000
    plan = bent_plan()
    assert main([str(plan), "--out", str(table), "--quiet"]) == 0
    lines = table.read_bytes().splitlines(keepends=True)
    filler = json.loads(lines[1]) | {"key": "x"}
    filler["key"] = "x" * (limit - len(lines[0] + lines[1]) - len(json.dumps(filler)) - 50)
    table.write_bytes(lines[0] + lines[1] + json.dumps(filler).encode() + b"\n")
    command = [sys.executable, profile.__file__, str(plan), "--out", str(table)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    full = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert full.returncode == 2
    assert full.stderr == "profile.py: error: [Errno 27] File too large\n"
    assert table.stat().st_size == limit
    assert not list(tmp_path.glob("chronas-*"))
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert len(LatencyTable.load(table)) == 3


def test_signs_of_life_come_while_one_run_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "HEARTBEAT_SECONDS", 0.01)
    lines: list[str] = []
    with heartbeat(2, lines.append) as count:
        while len(lines) < 3:
            pass
        count()
        while not lines[-1].startswith("measured 1/2"):
            pass
        count()
    assert lines[:2] == ["measured 0/2 entries"] * 2
    assert lines[-1] == "measured 2/2 entries, 0 s left"


def test_measuring_stops_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "HEARTBEAT_SECONDS", 0.01)
    lines: list[str] = []

    def say(line: str) -> None:
        if lines:
            raise BrokenPipeError
        lines.append(line)

    def count_for_ever() -> None:
        with heartbeat(2, say) as count:
            while True:
                count()

    with pytest.raises(BrokenPipeError):
        count_for_ever()


def test_a_burst_is_the_median_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 3_000_000, 10_000_000, 11_000_000, 20_000_000, 29_000_000])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(clock))
    assert profile._burst(lambda: None, 3) == pytest.approx(0.003)


def test_the_interval_is_that_of_mcgill_tukey_and_larsen() -> None:
    # Quartiles 1.9 and 2.2 around a median of 2: 1.57 · 0.3 / (√5 · 2).
    assert profile._interval([1.0, 1.9, 2.0, 2.2, 9.0]) == pytest.approx(0.105316, rel=1e-4)
    assert profile._interval([2.0, 2.0, 2.0]) == 0.0
