"""Killed at any moment, the same command goes on: nothing finished is lost or done again."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import latency.profile
from latency.context import After
from latency.keys import block_key, boundary_key
from latency.plan import MeasureSettings, entry_builders, no_progress, write_plan
from latency.profile import check_visit
from latency.table import LatencyTable
from search_spaces.blocks import Block, ConvNormAct
from search_spaces.shapes import TensorShape

REPOSITORY = Path(__file__).parents[2]
KILLS = 20
ROUNDS = 200
SHAPE, AFTER = TensorShape(4, 8, 8), After.CONV
STEPS: list[tuple[Block, TensorShape, After]] = [
    (ConvNormAct(out_channels=channels, kernel=3), SHAPE, AFTER) for channels in range(1, 5)
]
KEYS = {boundary_key(SHAPE, AFTER), *(block_key(*step) for step in STEPS)}
SETTINGS = MeasureSettings(runs=3, min_rounds=ROUNDS, max_rounds=ROUNDS)
ENSURE = f"""
import sys
from pathlib import Path
from latency.context import After
from latency.devices import LocalDevice
from latency.measure import ensure_table
from latency.plan import MeasureSettings, no_progress
from search_spaces.blocks import ConvNormAct
from search_spaces.shapes import TensorShape

steps = [
    (ConvNormAct(out_channels=channels, kernel=3), TensorShape(4, 8, 8), After.CONV)
    for channels in range(1, {len(STEPS) + 1})
]
settings = MeasureSettings(runs=3, min_rounds={ROUNDS}, max_rounds={ROUNDS})
ensure_table(LocalDevice(), Path(sys.argv[1]), steps, {{}}, settings, no_progress)
"""


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for them: what is killed for certain cannot remove its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Measures a plan into ``table.jsonl``."""
    plan = tmp_path / "small.plan"
    write_plan(plan, list(entry_builders(STEPS, {}, SETTINGS).values()), SETTINGS, no_progress)
    script, table = latency.profile.__file__, tmp_path / "table.jsonl"
    return [sys.executable, script, str(plan), "--out", str(table)]


def test_profile_goes_on_after_kills_at_random_moments(command: list[str], tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    rng = random.Random(0)
    held = b""
    for kill in range(KILLS):
        with _started(command) as process:
            if kill % 4:
                _wait_for_visits(table, held, rng.randrange(3), process)
                time.sleep(rng.uniform(0, 0.05))
            else:  # while it starts, most often
                time.sleep(rng.uniform(0, 0.5))
            assert process.poll() is None, "it was done before it could be killed"
        held = _checked(table, held)
        # A kill seldom tears a line by itself.
        if held and kill % 2:
            line = held[held[:-1].rfind(b"\n") + 1 :]
            with table.open("r+b") as file:
                file.seek(len(held))
                file.truncate()
                file.write(line[: rng.randrange(len(line))])
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _check_whole(table, held)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_profile_stops_at_a_signal_and_leaves_no_temporary_files(
    command: list[str], tmp_path: Path, temporary_files: Path, number: signal.Signals
) -> None:
    table = tmp_path / "table.jsonl"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        _wait_for_visits(table, b"", 2, process)
        process.send_signal(number)
        said, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    stopped = f"stopped; what is measured is in {table}; run again to go on"
    assert said.splitlines()[-1] == stopped
    assert not list(temporary_files.glob("chronas-*"))
    held = _checked(table, b"")
    assert table.read_bytes() == held
    assert subprocess.run(command, capture_output=True).returncode == 0
    _check_whole(table, held)


@pytest.mark.parametrize("victim", ["ensure_table", "profile.py"])
def test_ensure_table_goes_on_after_kills_at_random_moments(tmp_path: Path, victim: str) -> None:
    table = tmp_path / "table.jsonl"
    command = [sys.executable, "-c", ENSURE, str(table)]
    rng = random.Random(victim)
    held = b""
    for _ in range(2):
        with _started(command) as process:
            child = _wait_for_child(process)
            _wait_for_visits(table, held, 1, process)
            time.sleep(rng.uniform(0, 0.2))
            assert process.poll() is None, "it was done before it could be killed"
            os.kill(process.pid if victim == "ensure_table" else child, signal.SIGKILL)
            process.wait()
        # The same command at once: an orphan notices that nobody listens, and frees the table.
        held = _checked(table, held)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    _check_whole(table, held)
    _wait_for_end(child)


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """The command, killed where the context ends."""
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_visits(
    table: Path, held: bytes, more: int, process: subprocess.Popen[bytes] | subprocess.Popen[str]
) -> None:
    """Return once the table has more lines than that more, or the process has ended."""
    while process.poll() is None:
        if table.exists() and table.read_bytes().count(b"\n") > held.count(b"\n") + more:
            return
        time.sleep(0.002)


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


def _checked(table: Path, held: bytes) -> bytes:
    """The table's whole lines: those that it held before, and visits of the plan behind them."""
    content = table.read_bytes() if table.exists() else b""
    assert content.startswith(held)
    lines = content[: content.rfind(b"\n") + 1]
    visits = [check_visit(json.loads(line)) for line in lines.splitlines()[1:]]
    assert len(set(visits)) == len(visits)
    rounds = Counter(key for key, _ in visits)
    assert rounds.keys() <= KEYS
    assert max(rounds.values(), default=0) <= ROUNDS
    return lines


def _check_whole(table: Path, held: bytes) -> None:
    assert table.read_bytes() == _checked(table, held)
    rounds = {entry.key: entry.rounds for entry in LatencyTable.load(table).entries}
    assert rounds == dict.fromkeys(KEYS, ROUNDS)


def _wait_for_end(pid: int) -> None:
    """Return once an orphan is gone; it has freed the table before it ends."""
    deadline = time.monotonic() + 60
    while _is_running(pid):
        assert time.monotonic() < deadline, "nobody listens to it, and it goes on"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return False
