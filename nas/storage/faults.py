"""What can go wrong with a storage: a connection that comes back, or something to be mended."""

import re
import sqlite3
from collections.abc import Callable
from typing import TypeAlias

from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError

GOES_ON = "and the same command goes on"


class StorageError(RuntimeError):
    """The storage cannot be used; one line with the remedy, and without a password."""


class ConnectionLost(Exception):  # noqa: N818 - nothing is wrong yet: it may come back
    """A call was not answered. It may have been carried out or not; what is asked again is safe."""


Fault: TypeAlias = StorageError | ConnectionLost
FaultOf: TypeAlias = Callable[[BaseException, bool], Fault | None]
"""A driver's error, and whether the connection is broken or was never made → what it means, where
it is not an error of the statement itself."""

# SQLSTATE: too many connections, lock not available, deadlock, serialisation; being shut down or
# started, after a crash or otherwise.
_COMES_BACK = {"53300", "55P03", "40P01", "40001", "57P01", "57P02", "57P03", "57P05"}
_DISK_FULL = "53100"
_READ_ONLY = "25006"


def sqlite_fault(place: object) -> FaultOf:
    """Reads errors of the SQLite file at ``place``."""

    def fault_of(error: BaseException, _: bool) -> Fault | None:
        if not isinstance(error, sqlite3.Error):
            return None
        # Errors of the module itself have no code.
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return ConnectionLost(f"another process keeps {place} locked")
            case sqlite3.SQLITE_FULL:
                return StorageError(
                    f"the disk that holds {place} is full; free some space, {GOES_ON}"
                )
            case sqlite3.SQLITE_IOERR:
                return StorageError(
                    f"{place} cannot be read or written ({error}), as where a disk is full or "
                    f"broken; free some space, {GOES_ON}"
                )
            case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
                return StorageError(
                    f"{place} cannot be opened and written ({error}); see that its folder is there "
                    f"and both may be written, {GOES_ON}"
                )
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return StorageError(
                    f"{place} is damaged or no study ({error}); put another copy in its place, "
                    "or choose another file"
                )
            case _:
                return None

    return fault_of


def postgres_fault(place: object) -> FaultOf:
    """Reads errors of the PostgreSQL database at ``place``."""

    def fault_of(error: BaseException, lost: bool) -> Fault | None:
        state = getattr(error, "sqlstate", None)
        if state == _DISK_FULL:
            return StorageError(f"the disk of {place} is full; free some space there, {GOES_ON}")
        if lost or state in _COMES_BACK:
            return ConnectionLost(f"{place} cannot be reached ({_first_line(error)})")
        if state == _READ_ONLY:
            return StorageError(
                f"{place} takes no changes ({_first_line(error)}); give the URL of the primary"
            )
        return None

    return fault_of


def raise_faults(engine: Engine, fault_of: FaultOf) -> None:
    """Let the engine raise faults as such.

    Optuna wraps whatever SQLAlchemy raises into one kind of error, and tries some calls again by
    itself, with a full disk as well; other exceptions pass through it as they are.
    """

    def handle(context: ExceptionContext) -> None:
        if context.is_pre_ping:
            return  # the pool connects again
        lost = context.is_disconnect or context.connection is None
        if (fault := fault_of(context.original_exception, lost)) is not None:
            raise fault

    event.listen(engine, "handle_error", handle)


def fault_in(error: BaseException, fault_of: FaultOf) -> Fault | None:
    """The fault among an error and what caused it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageError | ConnectionLost):
            return cause
        if isinstance(cause, DBAPIError) and cause.orig is not None:
            # Without a statement, there was no connection.
            return fault_of(cause.orig, cause.connection_invalidated or cause.statement is None)
        cause = cause.__cause__ or cause.__context__
    return None


def _first_line(error: BaseException) -> str:
    """What the server or its client library says, without what it is repeated with."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^.* failed: (?:FATAL: +)?", "", line) or type(error).__name__
