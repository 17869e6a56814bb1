"""The far end of ``ssh.py``: takes files, measures, and sends back what is measured meanwhile.

It is sent to the device and run there, so it stands alone: Python's standard library, nothing else.
It reads, after itself, a JSON line (the folder to work in, arguments for ``profile.py``, sizes of
files), the files, and then a byte now and then, as long as somebody listens. It prints
``READY``, the table's new lines between the lines of progress, and, when all is measured,
``COMPLETE``; told then that all was saved (``SAVED``), it removes its folder.

Nobody listens any more when its input ends or is silent for ``LEASE_SECONDS``: a connection
that breaks in between ends no process and closes nothing. The measurement is stopped then.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

READY, COMPLETE, SAVED = b"chronas: ready\n", b"chronas: complete\n", b"s"
LEASE_SECONDS = 15
LOCK_SECONDS = LEASE_SECONDS + 10
STOP_SECONDS = 5
CHUNK_BYTES = 1 << 16

SCRIPT, PLAN, TABLE, LOCK = "profile.py", "plan.zip", "table.jsonl", "lock"


class NobodyListens(Exception):  # noqa: N818 - no error, but the end
    """The other end is gone."""


def main() -> int:
    signal.signal(signal.SIGALRM, _nobody_listens)
    try:
        send(READY)
        request, files = receive(sys.stdin.buffer)
        return serve(Path(request["folder"]).expanduser(), request["arguments"], files)
    except NobodyListens:
        print(
            f"remote.py: error: heard nothing for {LEASE_SECONDS} s and stopped; what is measured "
            "is kept, give the same command again",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"remote.py: error: {error}", file=sys.stderr)
        return 2


def receive(source: BinaryIO) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The request, and the files that follow it."""
    signal.alarm(LEASE_SECONDS)
    request = json.loads(source.readline() or "null")
    if request is None:
        raise NobodyListens
    files = {}
    for name, size in request["files"].items():
        content = bytearray()
        while len(content) < size:
            chunk = source.read(min(CHUNK_BYTES, size - len(content)))
            if not chunk:
                raise NobodyListens
            content += chunk
            signal.alarm(LEASE_SECONDS)
        files[name] = bytes(content)
    return request, files


def serve(folder: Path, arguments: list[str], files: dict[str, bytes]) -> int:
    """Measure in ``folder``, which is of one table, and return the exit code."""
    saved = threading.Event()
    threading.Thread(target=_listen, args=(saved,), daemon=True).start()
    with locked(folder) as lock:
        table = folder / TABLE
        known = files[TABLE]
        for name in (SCRIPT, PLAN):
            write_whole(folder / name, files[name])
        write_whole(table, merged(known, table.read_bytes() if table.exists() else b""))
        tail = Tail(table, len(known))
        tail.send()
        code = measure(folder, arguments, tail, lock)
        if code:
            return code
        send(COMPLETE)
        saved.wait()
        signal.alarm(0)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def merged(known: bytes, held: bytes) -> bytes:
    """A table of the lines that the other end knows, and then of those that it lacks."""
    known_lines, lines = known.splitlines(True), held.splitlines(True)
    # A line that a killed run tore is measured again.
    if lines and not lines[-1].endswith(b"\n"):
        del lines[-1]
    # Another header, another measurement; what the other end asks for counts.
    if known_lines and lines[:1] != known_lines[:1]:
        return known
    seen = set(known_lines)
    return known + b"".join(line for line in lines if line not in seen)


def measure(folder: Path, arguments: list[str], tail: "Tail", lock: int) -> int:
    """Run ``profile.py`` and pass on what it measures and prints; returns its exit code."""
    command = [sys.executable, SCRIPT, PLAN, "--out", TABLE, *arguments]
    # It keeps the lock: what outlives this process for a moment still keeps others out.
    with subprocess.Popen(  # noqa: S603
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=[lock]
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                tail.send()
                send(line)
            process.wait()
        except BaseException:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()
            # Who interrupts still takes what is finished; a dead connection might never do so.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(STOP_SECONDS)
            tail.send()
            raise
    tail.send()
    if process.returncode < 0:
        raise OSError(f"profile.py was ended by signal {-process.returncode}")
    return process.returncode


class Tail:
    """Sends what is added to a file, in whole lines."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._position = position

    def send(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            added = file.read()
        lines = added[: added.rfind(b"\n") + 1]
        send(lines)
        self._position += len(lines)


def send(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Make the folder and keep others out of it; yields what holds the lock.

    A measurement that lost its listener may be there for a moment.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while (file := _try_lock(folder)) is None:
        if time.monotonic() > deadline:
            raise OSError("another process there measures into this table; wait for it to end")
        time.sleep(0.1)
    with file:
        yield file.fileno()


def _try_lock(folder: Path) -> BinaryIO | None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        file = (folder / LOCK).open("a+b")
    except FileNotFoundError:  # whoever had it has just removed the folder
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


def _listen(saved: threading.Event) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    while word := os.read(sys.stdin.fileno(), 1):
        signal.alarm(LEASE_SECONDS)
        if word == SAVED:
            return saved.set()
    return os.kill(os.getpid(), signal.SIGALRM)


def _nobody_listens(*_: object) -> None:
    raise NobodyListens


if __name__ == "__main__":
    sys.exit(main())
