"""What a person sees: lines, and a sign of life at least every two seconds."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Update(Protocol):
    """How far something is that is being shown."""

    def __call__(self, done: float, total: float) -> None: ...

    def describe(self, description: str) -> None:
        """Say anew what is being done."""
        ...


_SIGN_OF_LIFE_SECONDS = 2.0


class Terminal:
    """Prints lines and progress: a bar on a terminal, a line every two seconds elsewhere."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._spoke = time.monotonic()

    def line(self, text: str = "") -> None:
        self._console.print(text, markup=False)
        self._spoke = time.monotonic()

    def seconds_until_due(self) -> float:
        """How long until a sign of life is due; counted from the last line, whoever printed it."""
        return max(0.0, self._spoke + _SIGN_OF_LIFE_SECONDS - time.monotonic())

    @contextmanager
    def progress(self, description: str) -> Iterator[Update]:
        """While the context is open, show ``description`` and how far ``update`` says it is."""
        if self._console.is_terminal:
            with self._bar(description) as update:
                yield update
        else:
            with _Heartbeat(description, self) as update:
                yield update

    @contextmanager
    def _bar(self, description: str) -> Iterator[Update]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            yield _Bar(progress, progress.add_task(description, total=None))


class _Bar:
    """Moves a task of a bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, done: float, total: float) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=description)


class _Heartbeat:
    """A thread that prints where things stand, also while nothing calls ``update``."""

    def __init__(self, description: str, terminal: Terminal) -> None:
        self._description = description
        self._terminal = terminal
        self._state = ""
        self._started = time.monotonic()
        self._first = self._last = 0.0
        self._since = self._started
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Update:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def describe(self, description: str) -> None:
        self._description = description

    def __call__(self, done: float, total: float) -> None:
        now = time.monotonic()
        if done < self._last or not self._state:  # something else begins, perhaps not at zero
            self._first, self._since = done, now
        self._last = done
        elapsed, gained = now - self._since, done - self._first
        left = f", {elapsed / gained * (total - done):.0f} s left" if gained and elapsed > 2 else ""
        self._state = f" {done / max(1, total):.0%}{left}"

    def _beat(self) -> None:
        while not self._stop.wait(self._terminal.seconds_until_due()):
            if self._terminal.seconds_until_due() == 0:
                elapsed = time.monotonic() - self._started
                self._terminal.line(f"  {self._description}:{self._state} ({elapsed:.0f} s)")
