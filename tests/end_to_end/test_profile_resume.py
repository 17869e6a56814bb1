"""Killed at any moment, the same command goes on: nothing finished is lost or measured twice."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import latency.profile
from latency.keys import OVERHEAD_KEY, block_key
from latency.plan import MeasureSettings, entry_builders, write_plan
from latency.table import LatencyTable
from search_spaces.blocks import Block, ConvNormAct
from search_spaces.shapes import TensorShape

REPOSITORY = Path(__file__).parents[2]
KILLS = 4
ROUNDS = 8
BLOCKS: list[tuple[Block, TensorShape]] = [
    (ConvNormAct(out_channels=channels, kernel=3), TensorShape(4, 8, 8))
    for channels in range(1, 201)
]
KEYS = {OVERHEAD_KEY, *(block_key(*found) for found in BLOCKS)}
ENSURE = f"""
import sys
from pathlib import Path
from latency.devices import LocalDevice
from latency.measure import ensure_table
from latency.plan import MeasureSettings
from search_spaces.blocks import ConvNormAct
from search_spaces.shapes import TensorShape

blocks = [
    (ConvNormAct(out_channels=channels, kernel=3), TensorShape(4, 8, 8))
    for channels in range(1, {len(BLOCKS) + 1})
]
settings = MeasureSettings(min_rounds={ROUNDS}, max_rounds={ROUNDS})
ensure_table(LocalDevice(), Path(sys.argv[1]), blocks, [], settings, lambda *_: None)
"""


@pytest.fixture(autouse=True)
def _temporary_files_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is killed for certain cannot remove its temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "many.plan"
    settings = MeasureSettings(min_rounds=ROUNDS, max_rounds=ROUNDS)
    write_plan(path, list(entry_builders(BLOCKS, []).values()), settings, lambda *_: None)
    return path


def test_profile_goes_on_after_kills_at_random_moments(plan: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    command = [sys.executable, latency.profile.__file__, str(plan), "--out", str(table)]
    held = b""
    for _ in range(KILLS):
        with _started(command) as process:
            _wait_for_more(table, held, process)
            assert process.poll() is None, "it was done before it could be killed"
            process.kill()
        held = _checked_prefix(table, held)
        # A kill seldom tears a line by itself.
        with table.open("ab") as file:
            file.write(b'{"key": "torn", "ratio": 0.')
    assert subprocess.run(command, capture_output=True).returncode == 0
    _check_whole(table, held)


@pytest.mark.parametrize("victim", ["ensure_table", "profile.py"])
def test_ensure_table_goes_on_after_kills_at_random_moments(tmp_path: Path, victim: str) -> None:
    table = tmp_path / "table.jsonl"
    command = [sys.executable, "-c", ENSURE, str(table)]
    held = b""
    for _ in range(2):
        with _started(command) as process:
            child = _wait_for_child(process)
            _wait_for_more(table, held, process)
            assert process.poll() is None, "it was done before it could be killed"
            os.kill(process.pid if victim == "ensure_table" else child, signal.SIGKILL)
            process.wait()
        # The same command at once: an orphan notices that nobody listens, and frees the table.
        held = _checked_prefix(table, held)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _check_whole(table, held)
    assert not _is_running(child)


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_more(table: Path, held: bytes, process: subprocess.Popen[bytes]) -> None:
    """Return at a random moment after the table has grown."""
    while process.poll() is None:
        if table.exists() and table.read_bytes().count(b"\n") > held.count(b"\n") + 1:
            time.sleep(random.uniform(0, 0.2))
            return
        time.sleep(0.01)


def _wait_for_child(process: subprocess.Popen[bytes]) -> int:
    """The process of ``profile.py``."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        for pid in children.read_text().split():
            with contextlib.suppress(OSError):
                if b"profile.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
        time.sleep(0.01)
    raise AssertionError("it ended without measuring")


def _checked_prefix(table: Path, held: bytes) -> bytes:
    """The table's whole lines, which begin with those that it held before and all parse."""
    content = table.read_bytes()
    assert content.startswith(held)
    lines = content[: content.rfind(b"\n") + 1]
    assert all(isinstance(json.loads(line), dict) for line in lines.splitlines())
    assert lines.count(b"\n") > held.count(b"\n")
    return lines


def _check_whole(table: Path, held: bytes) -> None:
    lines = _checked_prefix(table, held).splitlines()
    assert table.read_bytes().endswith(b"\n")
    keys = [json.loads(line)["key"] for line in lines[1:]]
    assert len(keys) == len(KEYS)
    assert set(keys) == KEYS
    assert len(LatencyTable.load(table)) == len(KEYS)


def _is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False
