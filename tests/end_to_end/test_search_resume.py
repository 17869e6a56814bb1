"""A search that is killed or interrupted loses and repeats nothing that was finished."""

import os
import signal
import subprocess
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState


def _trials(storage: Path) -> list[FrozenTrial]:
    if not storage.exists():
        return []
    try:
        study = optuna.load_study(study_name="run", storage=f"sqlite:///{storage}")
    except Exception:
        # The other process has not finished making the tables.
        return []
    return study.get_trials(deepcopy=False)


def _finished(storage: Path) -> dict[int, float | None]:
    return {t.number: t.value for t in _trials(storage) if t.state == TrialState.COMPLETE}


def _wait_until(process: subprocess.Popen[str], reached) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Tests that run in the background ignore SIGINT, and their children inherit that.
        preexec_fn=_hear_interrupts,
    )


def _hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _kill(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _table_lines(table: Path) -> list[bytes]:
    """The whole lines of a table; a torn last one is no line."""
    return table.read_bytes().split(b"\n")[:-1] if table.exists() else []


def test_killed_while_measuring_and_while_searching(
    tmp_path: Path, search_command, environment, run_command
) -> None:
    command = search_command("trials=5", "executor=local")
    table, storage = tmp_path / "table.jsonl", tmp_path / "runs/run/study.db"

    process = _start(command, environment)
    _wait_until(process, lambda: len(_table_lines(table)) > 5)
    _kill(process)
    measured = _table_lines(table)

    finished: dict[int, float | None] = {}
    for wanted in (1, 3):
        process = _start(command, environment)
        _wait_until(process, lambda wanted=wanted: len(_finished(storage)) >= wanted)
        _kill(process)
        assert finished.items() <= _finished(storage).items()
        finished = _finished(storage)

    done = run_command(command)
    assert done.returncode == 0, done.stderr
    assert _table_lines(table)[: len(measured)] == measured
    assert len(set(_table_lines(table))) == len(_table_lines(table))
    trials = _trials(storage)
    assert finished.items() <= _finished(storage).items()
    assert len(_finished(storage)) == 5
    assert not [t for t in trials if t.state in (TrialState.RUNNING, TrialState.WAITING)]
    networks = [t.params for t in trials if t.state == TrialState.COMPLETE]
    for killed in (t for t in trials if t.state == TrialState.FAIL and t.params):
        assert any(killed.params.items() <= network.items() for network in networks)


def test_interrupted_says_the_best_so_far_and_goes_on(
    tmp_path: Path, search_command, environment, run_command
) -> None:
    storage = tmp_path / "runs/run/study.db"
    process = _start(search_command("trials=200", "executor=local"), environment)
    _wait_until(process, lambda: len(_finished(storage)) >= 1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "best so far" in output
    assert "Traceback" not in output + errors
    assert (tmp_path / "runs/run/best_so_far.yaml").exists()
    assert (tmp_path / "runs/run/trials.csv").exists()
    finished = _finished(storage)
    done = run_command(search_command(f"trials={len(finished)}"))
    assert done.returncode == 0, done.stderr
    assert _finished(storage) == finished


@pytest.mark.parametrize("pause", [0.3, 1.5])
def test_interrupted_early_ends_cleanly(search_command, environment, pause: float) -> None:
    process = _start(search_command(), environment)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(pause)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
