"""A real ssh server on loopback, and a user of its own that devices log in as."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from latency.devices import SshDevice

SSHD = Path("/usr/sbin/sshd")
NOT_NEEDED = ("test", "site-packages", "config-*", "idlelib", "tkinter", "ensurepip", "lib2to3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A user of this machine, and how to log in as that user."""

    user: str
    uid: int
    port: int
    folder: Path
    python: str
    sshd: int

    def device(self, **changes: Any) -> SshDevice:
        given = {
            "host": "127.0.0.1",
            "user": self.user,
            "port": self.port,
            "identity": str(self.folder / "key"),
            "python": self.python,
            "options": {"UserKnownHostsFile": f"{self.folder}/known_hosts"},
        }
        return SshDevice(**given | changes)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def remote_tables(self) -> list[Path]:
        """The tables that are unfinished there."""
        return sorted(self.home.glob(".cache/chronas/*/table.jsonl"))

    def processes(self) -> dict[int, str]:
        """The command lines of what runs as this user, ssh sessions apart."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_text().replace("\0", " ")
                if folder.stat().st_uid == self.uid and command and command[:4] != "sshd":
                    found[int(folder.name)] = command
        return found

    def signal_sessions(self, number: signal.Signals) -> None:
        """Send a signal to all processes of the server that hold connections."""
        for pid in _descendants(self.sshd):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sshd"):
                    os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return found + [below for child in found for below in _descendants(child)]


@contextlib.contextmanager
def running_ssh_server() -> Iterator[Login]:
    """The server, and a user who can log in; a test is skipped where they cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("only root can make the user that is logged in as")
    if not SSHD.exists() or shutil.which("ssh") is None or shutil.which("useradd") is None:
        pytest.skip("needs OpenSSH's server and client: apt install openssh-server openssh-client")
    user = f"chronas{os.getpid()}"
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chronas-sshd-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        _run("useradd", "-m", "-d", f"{folder}/home", "-s", "/bin/sh", "-p", "*", user)
        stack.callback(_run, "userdel", "-f", user)
        uid = (folder / "home").stat().st_uid
        python = _python_for(user, folder)
        port, sshd = _start_sshd(folder, stack)
        login = Login(user=user, uid=uid, port=port, folder=folder, python=python, sshd=sshd)
        yield login
        for pid in login.processes():
            os.kill(pid, signal.SIGKILL)


def _start_sshd(folder: Path, stack: contextlib.ExitStack) -> tuple[int, int]:
    """Returns the port and the process."""
    for key in ("host_key", "key", "refused_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}")
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    host_key = (folder / "host_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    command = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    log = stack.enter_context((folder / "log").open("w"))
    process = stack.enter_context(subprocess.Popen(command, stderr=log))
    stack.callback(process.terminate)
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return port, process.pid
        assert process.poll() is None, (folder / "log").read_text()
        time.sleep(0.02)


def _python_for(user: str, folder: Path) -> str:
    """This interpreter with its packages, or, in a folder that others cannot read, a copy of it."""
    if _can_measure(sys.executable, user):
        return sys.executable
    prefix, version = Path(sys.base_prefix), f"python{sys.version_info[0]}.{sys.version_info[1]}"
    copy = folder / "python"
    (copy / "bin").mkdir(parents=True)
    shutil.copy(prefix / "bin" / version, copy / "bin")
    shutil.copytree(
        prefix / "lib" / version,
        copy / "lib" / version,
        ignore=shutil.ignore_patterns(*NOT_NEEDED),
        copy_function=_link_or_copy,
    )
    for library in prefix.glob("lib/libpython*.so*"):
        shutil.copy(library, copy / "lib")
    wrapper = copy / "bin" / "python3"
    wrapper.write_text(
        "#!/bin/sh\n"
        f"export LD_LIBRARY_PATH={copy}/lib PYTHONPATH={sysconfig.get_path('platlib')}\n"
        f'exec {copy}/bin/{version} "$@"\n'
    )
    wrapper.chmod(0o755)
    if not _can_measure(str(wrapper), user):
        pytest.skip(f"another user cannot read this Python's packages in {sys.prefix}")
    return str(wrapper)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _can_measure(python: str, user: str) -> bool:
    try:
        command = [python, "-c", "import numpy, onnxruntime"]
        return subprocess.run(command, user=user, cwd="/", capture_output=True).returncode == 0
    except OSError:
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
