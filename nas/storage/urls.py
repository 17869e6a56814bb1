"""Where a study is kept, as a URL: what is allowed, and how it is shown without its password."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

ALLOWED = (
    "sqlite:///FILE, postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE or grpc://HOST:PORT "
    "(`python -m nas.storage_proxy` serves the last)"
)

_USER = re.compile(r"(?<=://)([^:@]*)(:?).*@", re.DOTALL)
_SECRET = re.compile(r"([?&][^=&]*(?:pass|secret|token)[^=&]*=)[^&]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SqliteFile:
    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    url: URL

    def __str__(self) -> str:
        return shown(self.url.set(drivername="postgresql").render_as_string(hide_password=False))


@dataclass(frozen=True, slots=True)
class StorageProxy:
    """``host`` has brackets around it where it is an address of IPv6."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"grpc://{self.host}:{self.port}"


Place: TypeAlias = SqliteFile | PostgresDatabase | StorageProxy


def shown(url: str) -> str:
    """The URL with ``***`` for its password, which may stand before the host or among options.

    It need not be a valid URL: one with a slip of the pen may hold a password as well.
    """
    hidden = _USER.sub(lambda user: f"{user[1]}:***@" if user[2] else f"{user[1]}@", url, count=1)
    return _SECRET.sub(r"\1***", hidden)


def parse_url(url: str) -> Place:
    """Where a URL points to.

    Raises:
        ValueError: it is not among the allowed. The message holds no password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        # It is not echoed: a connection string of another form may hold a password anywhere.
        raise ValueError(f"storage must be {ALLOWED}, but got no URL")
    match scheme:
        case "sqlite":
            return _sqlite(url)
        case "postgresql" | "postgresql+psycopg":
            return _postgresql(f"postgresql://{rest}")
        case "grpc":
            return _proxy(url)
        case _:
            raise ValueError(f"storage must be {ALLOWED}, but got {shown(url)!r}")


def _sqlite(url: str) -> SqliteFile:
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None or found.host or found.query or found.database in (None, "", ":memory:"):
        raise ValueError(
            "storage on SQLite must be a file, sqlite:///relative/study.db or "
            f"sqlite:////absolute/study.db, but got {shown(url)!r}"
        )
    assert found.database is not None
    return SqliteFile(Path(found.database))


def _postgresql(url: str) -> PostgresDatabase:
    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        found = None
    if found is None or not found.database or "@" in (found.host or ""):
        raise ValueError(
            "storage in PostgreSQL must be postgresql://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE, "
            f"with %40 for @, %3A for : and %2F for / in a password, but got {shown(url)!r}"
        )
    return PostgresDatabase(found.set(drivername="postgresql+psycopg"))


def _proxy(url: str) -> StorageProxy:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        more = bool(parts.username or parts.path not in ("", "/") or parts.query)
    except ValueError:
        host, port, more = None, None, False
    if not host or not port or more:
        raise ValueError(f"storage behind a proxy must be grpc://HOST:PORT, but got {shown(url)!r}")
    return StorageProxy(f"[{host}]" if ":" in host else host, port)
