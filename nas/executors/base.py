"""Independent tasks, and where they run. Search and NetAdapt hand their work to an ``Executor``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class Channel(Protocol):
    """A running task's line to whoever submitted it."""

    def tell(self, message: Any) -> None:
        """Send a message; nobody answers."""
        ...

    def ask(self, message: Any) -> Any:
        """Send a message and wait for the answer."""
        ...


Call: TypeAlias = Callable[[Channel], Any]
"""What a task does. It can be pickled (a ``functools.partial`` of a module's function), and so can
what it returns, tells and asks."""


class TaskError(RuntimeError):
    """Stands for what a task has raised, or sent, where that cannot be brought here."""


@dataclass(frozen=True, slots=True)
class Told:
    """A task has told ``message``."""

    key: str
    message: Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A task waits for ``Executor.answer``."""

    key: str
    message: Any


@dataclass(frozen=True, slots=True)
class Finished:
    """A task has returned ``result``."""

    key: str
    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A task has raised ``error``. It is not tried again: it would raise again."""

    key: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class Retried:
    """A task's process died, or it ran past its time limit; it runs again from the start."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Died:
    """A task's process died as often as it may, the last time for ``reason``."""

    key: str
    reason: str


Event: TypeAlias = Told | Asked | Finished | Failed | Retried | Died


class Executor(Protocol):
    """Runs tasks side by side. Contract tests hold every executor to this.

    Every task that was submitted ends in one ``Finished``, ``Failed`` or ``Died``.
    """

    @property
    def workers(self) -> int:
        """How many tasks run at once; more of them wait their turn."""
        ...

    def submit(self, key: str, call: Call, *, limited: bool = True) -> None:
        """Run a task; ``key`` is its name in events, and is not that of another unfinished one.

        A time limit, where the executor has one, holds for tasks that are ``limited``.
        """
        ...

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        """The events since the last call, in order; at least one, unless the time is over.

        With no unfinished task it returns at once.
        """
        ...

    def answer(self, key: str, answer: Any) -> None:
        """Answer what a task has asked. A task that has ended since is passed over."""
        ...

    def close(self) -> None:
        """Stop what still runs, without waiting for it, and leave no process behind."""
        ...
