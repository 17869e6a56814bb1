"""Worker processes on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from multiprocessing.connection import Pipe, wait
from pathlib import Path
from typing import final

from nas.executors.checks import retry_count, time_limit, worker_count
from nas.executors.pool import PooledExecutor, WorkerDiedError

# multiprocessing would import the main module again, which need not be a file, nor be light.
_START = (
    "import sys; handle, *sys.path = sys.argv[1:]; "
    "from nas.executors.worker import main; main(int(handle))"
)
_STDERR = 2


@final
class LocalExecutor(PooledExecutor["_Process"]):
    """Runs tasks in processes of this machine, started when they are first needed.

    What tasks print goes to stderr. When the process that has made this one ends, in whatever way,
    its workers end, and all that their tasks have started.
    """

    def __init__(
        self, workers: int | None = 1, retries: int = 1, time_limit_s: float | None = None
    ) -> None:
        """What can be set.

        Args:
            workers: how many tasks run at once; ``None`` for one a core.
            retries: how often a task is run again whose process died or was too slow.
            time_limit_s: how long a task may run, each time.

        Raises:
            ValueError: a value is out of range.
        """
        super().__init__(retries=retry_count(retries), time_limit_s=time_limit(time_limit_s))
        self._workers = worker_count(workers)

    @property
    def workers(self) -> int:
        return self._workers

    def close(self) -> None:
        self._stop_workers()

    def _start_worker(self) -> "_Process":
        return _Process()

    def _with_news(
        self, workers: Sequence["_Process"], timeout_s: float | None
    ) -> Collection["_Process"]:
        found = set(wait([worker.connection for worker in workers], timeout_s))
        return [worker for worker in workers if worker.connection in found]


class _Process:
    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        paths = [str(path or Path.cwd()) for path in sys.path]
        with theirs:
            handle = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", _START, str(handle), *paths],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                pass_fds=[handle],
                # Out of reach of a terminal's Ctrl-C, and easy to end with all that it starts.
                start_new_session=True,
            )

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.connection.send_bytes(data)

    def receive(self) -> bytes:
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            # The connection is lost in the middle of a process's end, when its cause is settled.
            self.kill()
            raise WorkerDiedError(_how_it_ended(self._process.returncode)) from None

    def kill(self) -> None:
        if self._process.returncode is None:
            # What its tasks have started may outlive it, and is of its group.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self.connection.close()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    number = -code
    name = next((s.name for s in signal.Signals if s == number), f"signal {number}")
    match name:
        case "SIGKILL":
            return (
                "its process was killed by SIGKILL, which is what Linux does when memory runs out"
            )
        case "SIGSEGV" | "SIGBUS" | "SIGILL" | "SIGFPE" | "SIGABRT":
            return f"its process crashed with {name}"
        case _:
            return f"its process was killed by {name}"
