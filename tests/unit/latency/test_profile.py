"""profile.py: the table that it goes on with, its command line, and its signs of life."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from latency import profile
from latency.profile import ProfileError, describe, heartbeat, main, open_table
from latency.table import LatencyTable

MakePlan = Callable[..., Path]
Record = dict[str, Any]
HEADER: Record = {"format": "chronas-latency-table", "version": 3, "threads": 1}
HEADER_LINE = json.dumps(HEADER).encode() + b"\n"
VISIT: Record = {"key": "a", "latency_ms": 1.5, "median_ms": 1.6, "reference_ms": 2.0}
VISIT |= {"runs": 3, "at_s": 7.0}
LINE = json.dumps(VISIT).encode() + b"\n"


def _line(**fields: Any) -> bytes:
    return json.dumps(VISIT | fields).encode() + b"\n"


def test_a_new_table_begins_with_the_header_in_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "table.jsonl"
    with open_table(path, HEADER) as (_, records):
        assert records == []
    assert path.read_bytes() == HEADER_LINE


@pytest.mark.parametrize("torn", [b"", HEADER_LINE[:1], HEADER_LINE[:30], HEADER_LINE[:-1]])
def test_a_torn_header_is_written_anew(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(torn)
    with open_table(path, HEADER) as (_, records):
        assert records == []
    assert path.read_bytes() == HEADER_LINE


def test_a_torn_last_line_is_cut_off_and_the_visits_before_it_are_known(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(HEADER_LINE + LINE + LINE[:-1])
    with open_table(path, HEADER) as (_, records):
        assert records == [VISIT]
    assert path.read_bytes() == HEADER_LINE + LINE


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a photograph without a line break", "is no latency table"),
        (b"a\nletter\nhalf a li", "line 1: "),
        (b'{"format": "chronas-plan"}\nx', "line 1: no header of a latency table"),
        (HEADER_LINE.replace(b'"version": 3', b'"version": 1') + b"x", "line 1: no header"),
        (HEADER_LINE.replace(b'"threads": 1', b'"threads": 4') + b"x", "threads is 4 there and 1"),
        (HEADER_LINE.replace(b"{", b'{"more": 1, ') + b"x", "more is 1 there and None here"),
        (HEADER_LINE.replace(b"{", b'{"a\\n\\"b": 1, ') + b"x", r'a\\n"b is 1 there'),
        (HEADER_LINE + b"nonsense\n" + LINE + b"x", "line 2: "),
        (HEADER_LINE + LINE + LINE + b"x", "line 3: repeats line 2; delete the line"),
        (HEADER_LINE + _line(key=None) + b"x", "line 2: key and role must be names, but are None"),
        (HEADER_LINE + _line(role=[]) + b"x", r"key and role must be names, but are 'a' and \[\]"),
        (HEADER_LINE + _line(latency_ms=-1) + b"x", "latency_ms must be a number in .*, but is -1"),
        (HEADER_LINE + _line(latency_ms=0) + b"x", "latency_ms must be a number in"),
        (HEADER_LINE + _line(median_ms=True) + b"x", "median_ms must be a number in"),
        (HEADER_LINE + _line(reference_ms="2") + b"x", "reference_ms must be a number in"),
        (HEADER_LINE + _line(reference_ms=float("nan")) + b"x", "line 2: NaN is no number"),
        (HEADER_LINE + _line(at_s=1e300) + b"x", "at_s must be a number in"),
        (HEADER_LINE + _line(runs=0) + b"x", "runs must be a number in 1..1000, but is 0"),
        (HEADER_LINE + _line(celsius=-274) + b"x", "celsius must be a number in 0..1000"),
        (HEADER_LINE + _line(throttled=None) + b"x", "throttled must be a number in"),
        (HEADER_LINE + _line(parts="ab") + b"x", "parts and boundaries must be lists of keys"),
        (HEADER_LINE + _line(parts=["b", "c"]) + b"x", "'a' has 2 parts and 0 boundaries"),
        (HEADER_LINE + _line(boundaries=["b"]) + b"x", "'a' has 0 parts and 1 boundaries"),
        (HEADER_LINE + _line(role="calibration") + b"x", "'a' has 0 parts and 0 boundaries"),
        (HEADER_LINE + _line(ops=[["conv", "Conv", -1.0]]) + b"x", "ops must be a list of"),
        (HEADER_LINE + _line(ops="conv") + b"x", "ops must be a list of"),
        (HEADER_LINE + _line(latency=1.5) + b"x", "has the unknown field 'latency'"),
    ],
)
def test_a_file_that_is_refused_is_not_changed(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=message) as caught, open_table(path, HEADER):
        pass
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
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


def test_the_header_says_where_and_how_the_table_was_measured(
    bent_plan: MakePlan, tmp_path: Path
) -> None:
    table = tmp_path / "table.jsonl"
    assert main([str(bent_plan(batch=1, threads=2)), "--out", str(table), "--quiet"]) == 0
    header = LatencyTable.load(table).header
    assert header == {
        "format": "chronas-latency-table",
        "version": 3,
        **describe(),
        "threads": 2,
        "spinning": False,
        "affinity": None,
        "batch": 1,
        "precision": "fp32",
        "reference": "reference",
    }


@pytest.mark.parametrize(
    ("field", "value"), [("threads", 2), ("spinning", True), ("precision", "int8")]
)
def test_a_table_of_other_settings_is_refused_before_anything_runs(
    small_plan: Path,
    bent_plan: MakePlan,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    field: str,
    value: object,
) -> None:
    table = tmp_path / "table.jsonl"
    assert main([str(small_plan), "--out", str(table), "--quiet"]) == 0
    content = table.read_bytes()
    assert main([str(bent_plan(**{field: value})), "--out", str(table), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert f"table.jsonl was measured otherwise: {field} is " in error
    assert f" there and {value!r} here; give another --out\n" in error
    assert table.read_bytes() == content


def test_a_device_says_what_it_is_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--describe"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described == describe()
    assert described["runtime_version"] == onnxruntime.__version__
    assert described["provider"] == "CPUExecutionProvider"
    assert described["device"]["cores"] == os.cpu_count()
    assert set(described["device"]) == {"system", "machine", "cpu", "cores", "governor"}


@pytest.mark.parametrize("command", [["--describe"], ["PLAN", "--out", "TABLE"]])
def test_a_provider_that_this_runtime_lacks_is_refused(
    small_plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    names = {"PLAN": str(small_plan), "TABLE": str(tmp_path / "table.jsonl")}
    arguments = [names.get(word, word) for word in command]
    assert main([*arguments, "--provider", "TeapotExecutionProvider"]) == 2
    error = capsys.readouterr().err
    assert "has no TeapotExecutionProvider; it has " in error
    assert "CPUExecutionProvider" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


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
        ["--out", str(tmp_path / "t")],
        [],
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
    assert [entry.rounds for entry in LatencyTable.load(table).entries if entry.runs > 3] == [2, 2]


def test_signs_of_life_come_while_one_run_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "HEARTBEAT_SECONDS", 0.01)
    lines: list[str] = []
    done = 0
    with heartbeat(lambda: (done, 2), lines.append):
        while len(lines) < 3:
            pass
        done = 1
        while not lines[-1].startswith("measured 1/2"):
            pass
        done = 2
    assert lines[:2] == ["measured 0/2 visits"] * 2
    assert lines[-1] == "measured 2/2 visits, 0 s left"


def test_measuring_stops_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "HEARTBEAT_SECONDS", 0.01)
    lines: list[str] = []

    def say(line: str) -> None:
        if lines:
            raise BrokenPipeError
        lines.append(line)

    def measure_for_ever() -> None:
        with heartbeat(lambda: (0, 2), say) as check:
            while True:
                check()

    with pytest.raises(BrokenPipeError):
        measure_for_ever()
