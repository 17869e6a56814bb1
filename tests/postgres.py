"""A real PostgreSQL server on loopback, for tests of whatever keeps a study there."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

USER, PASSWORD = "chronas", "in/the@clear"
QUOTED_PASSWORD = "in%2Fthe%40clear"


def find_programs() -> Path | None:
    """The folder of the newest PostgreSQL's programs, as Debian installs them."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda path: int(path.parts[-3])).parent
    on_path = shutil.which("initdb")
    return None if on_path is None else Path(on_path).resolve().parent


@dataclass(slots=True, kw_only=True)
class Postgres:
    """A server of its own with its data in ``folder``. It can be stopped and started again."""

    programs: Path
    folder: Path
    port: int
    databases: int = field(default=0)

    def new_database(self, tablespace: str = "pg_default") -> str:
        """Make a database and return its URL, with a password in it."""
        self.databases += 1
        name = f"study{self.databases}"
        self.sql(f"CREATE DATABASE {name} TABLESPACE {tablespace}")
        return f"postgresql://{USER}:{QUOTED_PASSWORD}@127.0.0.1:{self.port}/{name}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement beside whatever is tested, and return what it prints, without a frame."""
        command = [self.programs / "psql", "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement]
        where = ["-h", str(self.folder), "-p", str(self.port), "-U", USER, "-d", database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        return subprocess.run(
            [*command, *where], env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    def start(self) -> None:
        """Returns when connections are accepted."""
        options = f"-p {self.port} -k {self.folder}"
        self._control("start", "-w", "-o", options, "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """As if the machine had lost its power: nothing is finished, connections break."""
        self._control("stop", "-m", "immediate")

    def stop_at_last(self) -> None:
        """Stop it, unless it is."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop()

    def kill_connections(self) -> None:
        """Break every connection but keep the server."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname ~ '^study'")

    def _control(self, *arguments: str) -> None:
        run_as_owner([str(self.programs / "pg_ctl"), "-D", f"{self.folder}/data", *arguments])


def run_as_owner(command: list[str]) -> None:
    """PostgreSQL's programs refuse to be run by root; Debian's package brings a user for them."""
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    subprocess.run(
        command,
        **(as_user if os.geteuid() == 0 else {}),  # type: ignore[call-overload]
        cwd="/",
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A fresh server, gone in the end. Skips the test where PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's server: apt install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="chronas-pg-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        password = folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        options = ["-D", f"{folder}/data", "-U", USER, "-A", "scram-sha-256", "-E", "UTF8"]
        options += ["--locale=C", "--no-sync", f"--pwfile={password}"]
        run_as_owner([str(programs / "initdb"), *options])
        with (folder / "data" / "postgresql.conf").open("a") as file:
            # What was committed outlives an immediate stop all the same: the kernel has it.
            file.write("fsync = off\nlisten_addresses = '127.0.0.1'\nmax_connections = 300\n")
        server = Postgres(programs=programs, folder=folder, port=_free_port())
        server.start()
        stack.callback(server.stop_at_last)
        yield server


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
