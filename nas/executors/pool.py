"""What executors with worker processes have in common: who runs what, and what if a worker dies."""

import pickle
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from nas.executors.base import Asked, Call, Died, Event, Failed, Finished, Retried, TaskError, Told
from nas.executors.checks import check_key
from nas.executors.worker import READY, Said


class WorkerDiedError(Exception):
    """A worker is no more; the text says why, for a person."""


class Worker(Protocol):
    """A process somewhere that runs ``nas.executors.worker.serve``."""

    def send(self, data: bytes) -> None:
        """Send to it. Where it is dead, nothing happens."""
        ...

    def receive(self) -> bytes:
        """Its next message.

        Raises:
            WorkerDiedError: it will send no more.
        """
        ...

    def kill(self) -> None:
        """End it, whatever it does; it may be dead."""
        ...


W = TypeVar("W", bound=Worker)


@dataclass(slots=True, eq=False)
class _Task:
    key: str
    call: bytes
    limited: bool
    deaths: int = 0


@dataclass(slots=True, eq=False)
class _Seat(Generic[W]):
    """A worker, and the task that it runs, if it runs one."""

    worker: W
    ready: bool = False
    task: _Task | None = None
    started_s: float = 0.0
    asks: bool = False

    @property
    def is_limited(self) -> bool:
        return self.task is not None and self.task.limited

    def begin(self, task: _Task) -> None:
        self.task, self.started_s, self.asks = task, time.monotonic(), False
        self.worker.send(task.call)


class PooledExecutor(ABC, Generic[W]):
    """An executor whose tasks run in workers that stay for the next one.

    Nothing happens in the background: messages, deaths and time limits are seen to in ``wait``.
    """

    def __init__(self, *, retries: int, time_limit_s: float | None) -> None:
        """``retries``: how often a task runs again; ``time_limit_s``: a run, of limited tasks."""
        self._retries = retries
        self._time_limit_s = time_limit_s
        self._unfinished: dict[str, _Task] = {}
        self._waiting = deque[_Task]()
        self._seats: list[_Seat[W]] = []
        self._closed = False

    @property
    @abstractmethod
    def workers(self) -> int: ...

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _start_worker(self) -> W:
        """Start a worker, without waiting until it is ready."""

    @abstractmethod
    def _with_news(self, workers: Sequence[W], timeout_s: float | None) -> Collection[W]:
        """Those that have sent something or died: one or more, unless the time is over."""

    def submit(self, key: str, call: Call, *, limited: bool = True) -> None:
        check_key(key, self._unfinished, closed=self._closed)
        task = _Task(key, _pickled(key, call), limited)
        self._unfinished[key] = task
        self._waiting.append(task)
        self._staff()
        self._hand_out()

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        events: list[Event] = []
        while self._unfinished and not events:
            news = self._seats_with_news(self._seats, self._patience_s(until_s))
            for seat in news:
                events += self._receive(seat)
            events += self._end_overdue(news)
            self._staff()
            self._hand_out()
            if until_s is not None and time.monotonic() >= until_s:
                break
        return events

    def answer(self, key: str, answer: Any) -> None:
        data = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        for seat in self._seats:
            if seat.task is not None and seat.task.key == key and seat.asks:
                seat.asks = False
                seat.worker.send(data)

    def _stop_workers(self) -> None:
        self._closed = True
        self._unfinished.clear()
        self._waiting.clear()
        while self._seats:
            self._seats.pop().worker.kill()

    def _staff(self) -> None:
        while len(self._seats) < min(self.workers, len(self._unfinished)):
            self._seats.append(_Seat(self._start_worker()))

    def _hand_out(self) -> None:
        idle = [seat for seat in self._seats if seat.ready and seat.task is None]
        if not self._waiting or not idle:
            return
        # Who has nothing to do has died if it has news, and no task is to be charged with that.
        dead = self._seats_with_news(idle, 0)
        for seat in idle:
            if self._waiting and seat not in dead:
                seat.begin(self._waiting.popleft())

    def _seats_with_news(
        self, seats: Sequence[_Seat[W]], timeout_s: float | None
    ) -> list[_Seat[W]]:
        found = {id(worker) for worker in self._with_news([s.worker for s in seats], timeout_s)}
        return [seat for seat in seats if id(seat.worker) in found]

    def _patience_s(self, until_s: float | None) -> float | None:
        """How long nothing needs to be done but listen."""
        times = [] if until_s is None else [until_s]
        if self._time_limit_s is not None:
            times += [s.started_s + self._time_limit_s for s in self._seats if s.is_limited]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _receive(self, seat: _Seat[W]) -> list[Event]:
        try:
            data = seat.worker.receive()
        except WorkerDiedError as error:
            return self._bury(seat, str(error))
        if not seat.ready:
            assert data == READY
            seat.ready = True
        elif seat.task is not None:
            return [self._heard(seat, seat.task.key, data)]
        return []

    def _heard(self, seat: _Seat[W], key: str, data: bytes) -> Event:
        try:
            said: Said = pickle.loads(data)  # noqa: S301
            kind, content = said
        except Exception as error:
            self._dismiss(seat)
            del self._unfinished[key]
            return Failed(
                key,
                TaskError(f"what the task sent cannot be loaded ({type(error).__name__}: {error})"),
            )
        event = kind(key, content)
        match event:
            case Asked():
                seat.asks = True
            case Finished() | Failed():
                seat.task = None
                del self._unfinished[key]
            case Told():
                pass
        return event

    def _end_overdue(self, heard: Collection[_Seat[W]]) -> list[Event]:
        """End what runs for too long; a task that was just heard may have said that it is done."""
        limit_s = self._time_limit_s
        if limit_s is None:
            return []
        before_s = time.monotonic() - limit_s
        overdue = [
            seat
            for seat in self._seats
            if seat.is_limited and seat.started_s <= before_s and seat not in heard
        ]
        reason = f"it ran longer than executor.time_limit_s={limit_s:g}"
        return [event for seat in overdue for event in self._bury(seat, reason)]

    def _dismiss(self, seat: _Seat[W]) -> None:
        self._seats.remove(seat)
        seat.worker.kill()

    def _bury(self, seat: _Seat[W], reason: str) -> list[Event]:
        self._dismiss(seat)
        task = seat.task
        # Where workers cannot even start, this must end as well.
        if task is None and not seat.ready and self._waiting:
            task = self._waiting.popleft()
        if task is None:
            return []
        task.deaths += 1
        if task.deaths > self._retries:
            del self._unfinished[task.key]
            return [Died(task.key, reason)]
        self._waiting.appendleft(task)
        return [Retried(task.key, reason)]


def _pickled(key: str, call: Call) -> bytes:
    try:
        return pickle.dumps(call, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ValueError(
            f"task {key!r} cannot be sent to a worker process ({type(error).__name__}: {error}); "
            "what it consists of must be possible to pickle, or take executor=threads"
        ) from error
