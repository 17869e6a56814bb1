"""Storages in trouble, each the real one: servers that go down, processes that are killed, disks
that are full."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas.asking import ask
from nas.storage import RetryingStorage, StorageError, open_storage
from tests.postgres import Postgres
from tests.small_disk import small_disk

REPOSITORY = Path(__file__).parents[2]
CHOICES = {f"choice{number}": CategoricalDistribution((1, 2, 3)) for number in range(10)}


def study_in(storage: RetryingStorage) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name="study",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=0),
        load_if_exists=True,
    )


def run_trial(study: optuna.Study) -> int:
    trial = ask(study, CHOICES, {"driver": "one"})
    trial.set_user_attr("result", {"accuracy": 0.5})
    return study.tell(trial, float(trial.number)).number


def run_until_it_fails(study: optuna.Study, told: list[int]) -> NoReturn:
    while True:
        told.append(run_trial(study))


def finish_running(study: optuna.Study) -> list[int]:
    running = study.get_trials(states=(TrialState.RUNNING,))
    return [study.tell(trial.number, float(trial.number)).number for trial in running]


class Workers:
    """Three threads that run trials, each with a storage of its own, until they are stopped."""

    def __init__(self, url: str) -> None:
        self.waits: list[str] = []
        self._url = url
        self._done = threading.Event()
        self._told: list[int] = []
        self._threads = ThreadPoolExecutor(3)
        self._running = [self._threads.submit(self._work) for _ in range(3)]

    def _work(self) -> None:
        storage = open_storage(self._url, Path(), on_wait=self.waits.append, patience_s=60.0)
        study = study_in(storage)
        while not self._done.is_set():
            self._told.append(run_trial(study))
        storage.close()

    def wait_for(self, trials: int) -> None:
        """Wait until so many more are told."""
        wanted = len(self._told) + trials
        while len(self._told) < wanted:
            assert not any(future.done() for future in self._running), self.stop()
            time.sleep(0.01)

    def stop(self) -> list[int]:
        """The numbers of all trials that were told, in order."""
        self._done.set()
        for future in self._running:
            future.result(timeout=90)
        return sorted(self._told)


def check_nothing_is_lost_or_doubled(told: list[int], url: str) -> None:
    storage = RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    trials = optuna.load_study(study_name="study", storage=storage).get_trials()
    assert told == [trial.number for trial in trials] == list(range(len(trials)))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert [trial.values for trial in trials] == [[float(number)] for number in told]
    for trial in trials:
        assert trial.params.keys() == CHOICES.keys()
        assert trial.user_attrs == {"driver": "one", "result": {"accuracy": 0.5}}


class Proxy:
    """The command, which can be killed and started again."""

    def __init__(self, storage: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.url = f"grpc://127.0.0.1:{port}"
        arguments = ["--storage", storage, "--host", "127.0.0.1", "--port", str(port)]
        self._command = [sys.executable, "-m", "nas.storage_proxy", *arguments]
        self.printed = ""
        self.start()

    def start(self) -> None:
        """Returns when it serves."""
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self._process.stdout is not None
        assert "serving" in self._process.stdout.readline()

    def kill(self) -> None:
        """Afterwards, ``printed`` is what it has said since it served."""
        if self._process.poll() is None:
            self._process.kill()
            self.printed, _ = self._process.communicate()


@pytest.fixture
def database(postgres: Postgres) -> str:
    pytest.importorskip("psycopg")
    return postgres.new_database()


@pytest.fixture
def proxy(database: str) -> Iterator[Proxy]:
    pytest.importorskip("grpc")
    running = Proxy(database)
    yield running
    running.kill()


def test_postgresql_is_restarted_in_the_middle_of_everything(
    postgres: Postgres, database: str
) -> None:
    workers = Workers(database)
    for _ in range(3):
        workers.wait_for(5)
        postgres.stop()
        time.sleep(0.5)
        postgres.start()
    workers.wait_for(5)
    told = workers.stop()
    check_nothing_is_lost_or_doubled(told, database)
    assert workers.waits
    for reason in workers.waits:
        assert "clear" not in reason
        assert reason.startswith("postgresql://chronas:***@127.0.0.1:")
        assert "\n" not in reason


def test_connections_to_postgresql_break_again_and_again(postgres: Postgres, database: str) -> None:
    workers = Workers(database)
    for _ in range(10):
        workers.wait_for(2)
        postgres.kill_connections()
    workers.wait_for(2)
    check_nothing_is_lost_or_doubled(workers.stop(), database)


def test_postgresql_is_restarted_behind_the_proxy(
    postgres: Postgres, database: str, proxy: Proxy
) -> None:
    workers = Workers(proxy.url)
    workers.wait_for(5)
    postgres.stop()
    time.sleep(1.0)
    postgres.start()
    workers.wait_for(5)
    check_nothing_is_lost_or_doubled(workers.stop(), database)
    proxy.kill()
    assert "waiting for it" in proxy.printed
    assert "Traceback" not in proxy.printed
    assert "clear" not in proxy.printed


def test_the_proxy_is_killed_and_started_again(database: str, proxy: Proxy) -> None:
    workers = Workers(proxy.url)
    for _ in range(2):
        workers.wait_for(5)
        proxy.kill()
        time.sleep(0.5)
        proxy.start()
    workers.wait_for(5)
    check_nothing_is_lost_or_doubled(workers.stop(), database)
    assert all(reason.startswith(f"{proxy.url} cannot be reached (") for reason in workers.waits)


def test_a_server_that_stays_away_ends_the_search_in_one_line(
    postgres: Postgres, database: str
) -> None:
    storage = open_storage(database, Path(), patience_s=0.5)
    study = study_in(storage)
    postgres.stop()
    try:
        with pytest.raises(StorageError, match=r"for 0\.5 s by now; start it again, and") as raised:
            run_trial(study)
    finally:
        postgres.start()
    assert "clear" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert run_trial(study) == 0  # the same object goes on


WORK = """
import sys
from pathlib import Path
from nas.storage import open_storage
from tests.contracts.test_storage_faults import run_trial, study_in
study = study_in(open_storage(None, Path(sys.argv[1])))
while True:
    print(run_trial(study), flush=True)
"""


def test_a_process_that_is_killed_has_lost_nothing_that_it_told(tmp_path: Path) -> None:
    path, told = tmp_path / "study.db", []
    for _ in range(2):
        command = [sys.executable, "-c", WORK, str(path)]
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told += [int(process.stdout.readline()) for _ in range(7)]
            os.kill(process.pid, signal.SIGKILL)
            told += map(int, process.stdout.read().split())
    trials = study_in(open_storage(None, path)).get_trials()
    complete = [trial.number for trial in trials if trial.state == TrialState.COMPLETE]
    # What it finished and did not come to say is there as well.
    assert set(told) <= set(complete)
    assert len(complete) - len(told) <= 2
    running = [trial for trial in trials if trial.state != TrialState.COMPLETE]
    assert len(running) <= 2
    assert all(trial.params.keys() == CHOICES.keys() for trial in running)


def test_the_disk_of_a_file_is_full_and_then_it_is_not(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        path = disk.folder / "study.db"
        storage = open_storage(None, path)
        study, told = study_in(storage), []
        for _ in range(3):
            told += [run_trial(study) for _ in range(3)]
            disk.fill()
            with pytest.raises(StorageError, match=r"^the disk that holds .*; free some space, "):
                run_until_it_fails(study, told)
            disk.free()
            told += finish_running(study)
        storage.close()
        trials = study_in(open_storage(None, path)).get_trials()
        assert [trial.number for trial in trials] == sorted(told) == list(range(len(told)))
        assert {trial.state for trial in trials} == {TrialState.COMPLETE}
        assert all(trial.params.keys() == CHOICES.keys() for trial in trials)


def test_the_disk_of_postgresql_is_full_and_then_it_is_not(
    postgres: Postgres, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    with small_disk(postgres.folder / "disk", "24m") as disk:
        if os.geteuid() == 0:
            shutil.chown(disk.folder, "postgres", "postgres")
        (disk.folder / "table_space").mkdir()
        if os.geteuid() == 0:
            shutil.chown(disk.folder / "table_space", "postgres", "postgres")
        postgres.sql(f"CREATE TABLESPACE small LOCATION '{disk.folder}/table_space'")
        url = postgres.new_database(tablespace="small")
        storage = open_storage(url, tmp_path)
        study = study_in(storage)
        told = [run_trial(study) for _ in range(3)]
        disk.fill()
        with pytest.raises(StorageError, match=r"^the disk of postgresql://.* is full; free "):
            run_until_it_fails(study, told)
        disk.free()
        told += finish_running(study)
        told += [run_trial(study) for _ in range(3)]
        assert told == [trial.number for trial in study.get_trials()] == list(range(len(told)))
        storage.close()
        postgres.sql(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")
        postgres.sql("DROP TABLESPACE small")
