"""Opens the storage of a study."""

import importlib.util
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import Connection, Engine, QueuePool, event
from sqlalchemy.exc import SQLAlchemyError

from nas.storage.cached import CachedStorage
from nas.storage.faults import (
    ConnectionLost,
    FaultOf,
    StorageError,
    fault_in,
    postgres_fault,
    raise_faults,
    sqlite_fault,
)
from nas.storage.mounts import is_on_network
from nas.storage.relational import SCHEMA, RelationalRows
from nas.storage.retrying import PATIENCE_S, RetryingStorage
from nas.storage.urls import PostgresDatabase, SqliteFile, StorageProxy, parse_url

OPENING_S = 10.0
"""How long a server that does not answer is waited for in the beginning."""

_BUSY_S = 20.0
_READS = "chronas_reads"
_FINAL = ("authentication", "does not exist", "no password", "pg_hba", "resolve host")
"""What a server says that will say the same in ten seconds; in other languages it is waited for."""

_NEEDS_PSYCOPG = "storage in PostgreSQL needs the package psycopg: pip install chronas[postgresql]"


def open_storage(
    url: str | None,
    default: Path,
    *,
    patience_s: float = PATIENCE_S,
    on_wait: Callable[[str], None] | None = None,
    connections: int = 5,
) -> RetryingStorage:
    """The storage at ``url``; ``None`` is an SQLite file at ``default``.

    Args:
        url: ``sqlite:///…``, ``postgresql://…`` or ``grpc://host:port``.
        default: the file without a URL.
        patience_s: how long a call waits for a lost connection to come back.
        on_wait: is told, in one line without a password, that and why a call waits.
        connections: how many threads use it at once; more of them wait.

    Raises:
        ValueError: the URL is not among the allowed, or a package is missing for it.
        StorageError: the storage cannot be reached or used.
    """
    place = SqliteFile(default) if url is None else parse_url(url)
    match place:
        case SqliteFile():
            inner, close = _open_sqlite(place, connections)
        case PostgresDatabase():
            inner, close = _open_postgres(place, connections)
        case StorageProxy():
            inner, close = _open_proxy(place)
        case _:
            assert_never(place)
    return RetryingStorage(inner, close=close, patience_s=patience_s, on_wait=on_wait)


def _open_sqlite(place: SqliteFile, connections: int) -> tuple[BaseStorage, Callable[[], None]]:
    shared = is_on_network(place.path)

    def connect() -> sqlite3.Connection:
        made = sqlite3.connect(
            place.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        _tune(made, shared=shared)
        return made

    arguments = {"creator": connect, "poolclass": QueuePool}
    storage = _set_up(place, "sqlite://", arguments, connections, sqlite_fault(place))
    # Optuna reads a trial's state and then writes another; between the two, nobody else may.
    event.listen(storage.engine, "begin", _lock_file)
    return _cached(storage, storage.engine.execution_options(**{_READS: True}))


def _tune(connection: sqlite3.Connection, *, shared: bool) -> None:
    """Set how transactions are written: a trial is a dozen of them.

    With a write-ahead log and ``synchronous=NORMAL`` a transaction is one write to a file and no
    wait for the disk. Once written, it is the kernel's: a process that is killed loses nothing.
    When the machine itself goes down, the last transactions may be missing; the file is whole.

    The log needs memory that all processes share, which those of several machines do not: on a file
    system between them it is not used, even where it can be set. There, and wherever it cannot be
    set, the rollback journal is: it waits for the disk some times in every transaction.
    """
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    wanted = "truncate" if shared else "wal"
    if mode != wanted:
        (mode,) = connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()
    connection.execute(f"PRAGMA synchronous={'NORMAL' if mode == 'wal' else 'FULL'}")


def _lock_file(connection: Connection) -> None:
    if not connection.get_execution_options().get(_READS):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _open_postgres(
    place: PostgresDatabase, connections: int
) -> tuple[BaseStorage, Callable[[], None]]:
    if importlib.util.find_spec("psycopg") is None:
        raise ValueError(_NEEDS_PSYCOPG)
    usual: dict[str, Any] = {
        "application_name": "chronas",
        "connect_timeout": 10,
        # A server whose machine has gone says nothing; without these, it would be heard for hours.
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
    }
    arguments = {
        "connect_args": {name: usual[name] for name in usual.keys() - place.url.query.keys()},
        "pool_pre_ping": True,
    }
    # Optuna fills in what stands in braces.
    url = place.url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    storage = _set_up(place, url, arguments, connections, postgres_fault(place))
    return _cached(storage, storage.engine.execution_options(isolation_level="AUTOCOMMIT"))


def _open_proxy(place: StorageProxy) -> tuple[BaseStorage, Callable[[], None]]:
    if any(importlib.util.find_spec(package) is None for package in ("grpc", "google.protobuf")):
        raise ValueError(
            "storage behind a proxy needs the packages grpcio and protobuf: pip install "
            "chronas[grpc]"
        )
    # It is for processes that fork and use gRPC on both sides, and says so at every fork.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    from nas.storage.proxied import ProxiedStorage  # loads grpc

    proxied = ProxiedStorage(place)
    proxied.wait(OPENING_S)
    return CachedStorage(proxied, proxied), proxied.close


def _set_up(
    place: object, url: str, arguments: dict[str, Any], connections: int, fault_of: FaultOf
) -> RDBStorage:
    """Connect, and make Optuna's tables where they are not there.

    Several processes may be at it at once: all but one fail, and find the tables afterwards.
    """
    # Optuna takes a second connection while it compares versions.
    arguments |= {"pool_size": connections, "max_overflow": 1, "pool_timeout": 600}
    begun, unexplained = time.monotonic(), 0
    while True:
        try:
            storage = RDBStorage(url, engine_kwargs=arguments)
        except ImportError as error:
            raise ValueError(_NEEDS_PSYCOPG) from error
        except RuntimeError as error:  # of another version of Optuna; the message says what to do
            raise StorageError(" ".join(str(error).split())) from None
        except (SQLAlchemyError, StorageInternalError) as error:
            fault = fault_in(error, fault_of)
            unexplained += fault is None
            if isinstance(fault, StorageError):
                raise fault from None
            if unexplained > 10:
                raise StorageError(
                    f"{place} cannot be set up ({_said(error)}); see that its user may make tables"
                ) from error
            if fault is not None and _is_final(fault, time.monotonic() - begun):
                raise StorageError(f"{fault}; start it, or correct its URL") from None
            time.sleep(0.2)
        else:
            raise_faults(storage.engine, fault_of)
            return storage


def _is_final(fault: ConnectionLost, waited_s: float) -> bool:
    return waited_s >= OPENING_S or any(words in str(fault) for words in _FINAL)


def _said(error: Exception) -> str:
    """What the database said, in one line."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return str(getattr(cause, "orig", cause)).strip().partition("\n")[0]


def _cached(storage: RDBStorage, reads: Engine) -> tuple[BaseStorage, Callable[[], None]]:
    """With Optuna's own, slower cache where its tables are not those that we know."""
    if storage.get_head_version() != SCHEMA:
        return get_storage(storage), storage.engine.dispose
    return CachedStorage(storage, RelationalRows(storage, reads)), storage.engine.dispose
