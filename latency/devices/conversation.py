"""What is said over a connection to ``remote.py`` while it measures."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import IO

from latency.devices import remote
from latency.devices.process import report_progress
from latency.devices.table_copy import TableCopy
from latency.plan import Progress, no_progress

SIGN_OF_LIFE, SIGN_SECONDS = b"\n", 3.0
SAVE_SECONDS = 5.0
STOP_SECONDS = 15.0


class Conversation:
    """Sends what the other end needs, shows it that somebody listens, and saves what it answers.

    Attributes:
        reached: whether ``remote.py`` has answered at all.
        complete: whether all was measured, and is saved.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], words: Sequence[bytes], copy: TableCopy
    ) -> None:
        self.reached = self.complete = False
        self._process = process
        self._copy = copy
        self._saved_at = time.monotonic()
        self._words: SimpleQueue[bytes | None] = SimpleQueue()
        for word in words:
            self._words.put(word)
        assert process.stdin is not None
        assert process.stdout is not None
        self._speaker = threading.Thread(
            target=_speak, args=(process.stdin, self._words), daemon=True
        )
        self._lines = _Lines(process.stdout)

    def run(self, on_progress: Progress) -> None:
        """Talk until the process ends, or is interrupted: what is finished by then is saved."""
        self._speaker.start()
        try:
            self._listen(on_progress)
            self._copy.save()
        except BaseException:
            # The end of its input makes the other end stop and send what it has.
            self._words.put(None)
            with _killed_after(self._process, STOP_SECONDS):
                self._listen(no_progress)
            self._copy.save()
            raise
        finally:
            self._words.put(None)
            with _killed_after(self._process, STOP_SECONDS):
                self._process.wait()
                self._speaker.join()

    def _listen(self, on_progress: Progress) -> None:
        for line in self._lines:
            if line == remote.READY:
                self.reached = True
            elif not self.reached:
                continue  # what a log-in shell prints
            elif line.startswith(b"{"):
                self._copy.add(line)
            elif line == remote.COMPLETE:
                self._copy.save()
                self.complete = True
                self._words.put(remote.SAVED)
            else:
                self._save_now_and_then()
                report_progress(line, on_progress)

    def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._copy.save()
            self._saved_at = time.monotonic()


class _Lines:
    """The whole lines that come out of a pipe. An interruption loses none of them."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._rest = b""

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while (end := self._rest.find(b"\n") + 1) == 0:
            chunk = os.read(self._pipe.fileno(), remote.CHUNK_BYTES)
            if not chunk:
                raise StopIteration
            self._rest += chunk
        line, self._rest = self._rest[:end], self._rest[end:]
        return line


def _speak(pipe: IO[bytes], words: "SimpleQueue[bytes | None]") -> None:
    """Write the words, and where there are none a sign of life, until None comes."""
    with contextlib.suppress(OSError), pipe:
        while True:
            try:
                word = words.get(timeout=SIGN_SECONDS)
            except Empty:
                word = SIGN_OF_LIFE
            if word is None:
                return
            pipe.write(word)
            pipe.flush()


@contextlib.contextmanager
def _killed_after(process: subprocess.Popen[bytes], seconds: float) -> Iterator[None]:
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
