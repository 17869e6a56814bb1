"""Dead workers, a database that restarts, a full disk: every requested trial is finished once."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.small_disk import SmallDisk, small_disk

Trials = Callable[[], list[FrozenTrial]]
TRIALS = 4
LONG = ("evaluator.settings.epochs=8", f"trials={TRIALS}", "handover=false")


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[Any]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _trials_at(url: str) -> Trials:
    def trials() -> list[FrozenTrial]:
        try:
            study = optuna.load_study(study_name="run", storage=url)
            return study.get_trials(deepcopy=False)
        except Exception:
            return []  # its tables are not all made yet, or the server is away

    return trials


def _wait_until(reached: Callable[[], Any], process: Any, log: Path) -> Any:
    deadline = time.monotonic() + 240
    while not (found := reached()):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found


def _training_workers(driver: int, sign: bytes) -> list[int]:
    """Processes below the driver that are workers, and have worked for a while."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            is_worker = sign in (folder / "cmdline").read_bytes()
            if is_worker and seconds > 1 and driver in _ancestors(int(folder.name)):
                found.append(int(folder.name))
    return found


def _ancestors(pid: int) -> list[int]:
    found = []
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        pid = int(stat.rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def _all_finished_once(trials: list[FrozenTrial]) -> None:
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == TRIALS
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    complete = [trial.params for trial in trials if trial.state == TrialState.COMPLETE]
    for lost in (trial for trial in trials if trial.state == TrialState.FAIL):
        assert any(lost.params.items() <= params.items() for params in complete)


@pytest.mark.parametrize(
    ("executor", "sign"), [("local", b"nas.executors"), ("ray", b"ray::_Actor")]
)
def test_a_worker_that_is_killed_in_mid_trial(
    tmp_path: Path, search_command: Any, environment: Any, executor: str, sign: bytes
) -> None:
    if executor == "ray":
        pytest.importorskip("ray", reason="needs ray: pip install chronas[ray]")
    log, trials = tmp_path / "log", _trials_at(f"sqlite:///{tmp_path}/runs/run/study.db")
    workers = "executor.workers=2"
    command = search_command(*LONG, f"executor={executor}", workers)
    with _running(command, environment, log) as process:
        _wait_until(lambda: any(t.state == TrialState.RUNNING for t in trials()), process, log)
        killed, *_ = _wait_until(lambda: _training_workers(process.pid, sign), process, log)
        os.kill(killed, signal.SIGKILL)
        assert process.wait(300) == 0, log.read_text()
    assert "begins again" in log.read_text()
    _all_finished_once(trials())
    assert all(trial.state == TrialState.COMPLETE for trial in trials())


def test_a_database_that_restarts_in_mid_search(
    tmp_path: Path, search_command: Any, environment: Any, postgres: Any
) -> None:
    url = postgres.new_database()
    log, trials = tmp_path / "log", _trials_at(url.replace("postgresql:", "postgresql+psycopg:"))
    with _running(
        search_command(*LONG, "executor=local", f"storage={url}"), environment, log
    ) as process:
        _wait_until(lambda: any(t.state == TrialState.COMPLETE for t in trials()), process, log)
        postgres.stop()
        time.sleep(3)
        postgres.start()
        assert process.wait(300) == 0, log.read_text()
    _all_finished_once(trials())
    config = (tmp_path / "runs/run/config.yaml").read_text()
    assert "clear" not in config + log.read_text(), "the password is nowhere"


def test_two_drivers_share_a_study_and_one_of_them_is_killed(
    tmp_path: Path, search_command: Any, environment: Any, postgres: Any
) -> None:
    url = postgres.new_database()
    trials = _trials_at(url.replace("postgresql:", "postgresql+psycopg:"))
    commands = [
        search_command(
            *LONG,
            "executor=local",
            f"storage={url}",
            "driver_patience_s=30",
            "study=run",
            f"name={name}",
        )
        for name in ("one", "two")
    ]
    logs = [tmp_path / name for name in ("log_one", "log_two")]
    with _running(commands[0], environment, logs[0]) as first:
        # The table is measured once, and then there for both.
        _wait_until(lambda: any(t.state == TrialState.RUNNING for t in trials()), first, logs[0])
        with _running(commands[1], environment, logs[1]) as second:
            owners = lambda: {t.user_attrs.get("driver") for t in trials()}  # noqa: E731
            _wait_until(lambda: len(owners()) >= 2, second, logs[1])
            os.killpg(first.pid, signal.SIGKILL)
            assert second.wait(300) == 0, logs[1].read_text()
    _all_finished_once(trials())


def test_a_full_disk_in_mid_trial(
    tmp_path: Path, search_command: Any, environment: Any, run_command: Any
) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        _fill_in_mid_trial(disk, tmp_path / "log", search_command, environment, run_command)


def _fill_in_mid_trial(
    disk: SmallDisk, log: Path, search_command: Any, environment: Any, run_command: Any
) -> None:
    trials = _trials_at(f"sqlite:///{disk.folder}/runs/run/study.db")
    command = [
        f"runs={disk.folder}/runs" if word.startswith("runs=") else word
        for word in search_command(*LONG, "executor=local")
    ]
    with _running(command, environment, log) as process:
        _wait_until(lambda: any(t.state == TrialState.COMPLETE for t in trials()), process, log)
        disk.fill()
        assert process.wait(300) == 2, log.read_text()
    assert "Traceback" not in log.read_text()
    assert "error: " in log.read_text().splitlines()[-1]
    disk.free()
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    _all_finished_once(trials())
