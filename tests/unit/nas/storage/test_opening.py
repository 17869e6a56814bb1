import sqlite3
import threading
from pathlib import Path

import optuna
import pytest

from nas.storage import StorageError, open_storage, opening


def _journal_of(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    return str(mode)


def test_without_a_url_it_is_a_file_with_a_write_ahead_log(tmp_path: Path) -> None:
    path = tmp_path / "a{b} %41?#.db"
    storage = open_storage(None, path)
    optuna.create_study(storage=storage, study_name="study")
    assert _journal_of(path) == "wal"
    storage.close()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # the log is folded in


def test_between_machines_there_is_no_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "study.db"
    open_storage(None, path).close()
    assert _journal_of(path) == "wal"
    monkeypatch.setattr(opening, "is_on_network", lambda path: True)
    storage = open_storage(None, path)
    optuna.create_study(storage=storage, study_name="study").enqueue_trial({"kernel": 3})
    assert _journal_of(path) == "delete"  # of this connection; what counts is that it is no log
    assert not path.with_name("study.db-wal").exists()
    storage.close()


def test_what_waits_for_the_disk_follows_the_journal(tmp_path: Path) -> None:
    for shared, expected in ((False, ("wal", 1)), (True, ("truncate", 2))):
        with sqlite3.connect(tmp_path / f"{shared}.db") as connection:
            opening._tune(connection, shared=shared)
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        connection.close()
        assert (mode, synchronous) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a study " * 100, r"study\.db is damaged or no study \(file is not a database\); "),
        (None, r"study\.db cannot be opened and written \(unable to open database file\); see "),
    ],
)
def test_a_file_that_cannot_be_used_is_said_in_one_line(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "study.db"
    if content is not None:
        path.parent.mkdir()
        path.write_bytes(content)
    with pytest.raises(StorageError, match=message) as raised:
        open_storage(None, path)
    assert "\n" not in str(raised.value)


def test_a_file_that_another_process_keeps_locked_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_BUSY_S", 0.05)
    path, reasons = tmp_path / "study.db", []
    other = open_storage(None, path)
    optuna.create_study(storage=other, study_name="study")
    locking = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    locking.execute("BEGIN IMMEDIATE")

    def unlock(reason: str) -> None:
        reasons.append(reason)
        threading.Timer(0.2, locking.execute, ["ROLLBACK"]).start()

    storage = open_storage(None, path, on_wait=unlock)
    study = optuna.load_study(storage=storage, study_name="study")
    study.enqueue_trial({"kernel": 3})
    assert reasons == [f"another process keeps {path} locked; waiting for it"]
    assert len(study.trials) == 1


def test_tables_of_an_unknown_version_are_left_to_optuna(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "SCHEMA", "v9.9.9.a")
    storage = open_storage(None, tmp_path / "study.db")
    study = optuna.create_study(storage=storage, study_name="study")
    study.optimize(lambda trial: trial.suggest_categorical("kernel", (3, 5)), n_trials=3)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_nobody_listening_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc")
    monkeypatch.setattr(opening, "OPENING_S", 0.2)
    with pytest.raises(StorageError, match=r"^no storage proxy answers at grpc://127.0.0.1:9; "):
        open_storage("grpc://127.0.0.1:9", tmp_path)
    pytest.importorskip("psycopg")
    message = r"^postgresql://me:\*\*\*@127.0.0.1:9/s cannot be reached \(Connection refused\); "
    with pytest.raises(StorageError, match=message):
        open_storage("postgresql://me:secret@127.0.0.1:9/s", tmp_path)
