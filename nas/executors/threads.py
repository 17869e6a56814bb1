"""Threads of this process: for tasks that take no time, and for those that cannot be pickled."""

import contextlib
from queue import Empty, SimpleQueue
from threading import Event as Flag
from threading import Thread
from typing import Any, final

from nas.executors.base import Asked, Call, Event, Failed, Finished, TaskError, Told
from nas.executors.checks import check_key, worker_count


@final
class ThreadExecutor:
    """Runs tasks in threads, which share this process, its memory and its interpreter.

    A thread cannot be ended: after ``close`` it goes on until its task tells or asks something.
    """

    def __init__(self, workers: int | None = 1) -> None:
        """What can be set.

        Args:
            workers: how many tasks run at once; ``None`` for one a core.

        Raises:
            ValueError: a value is out of range.
        """
        self._workers = worker_count(workers)
        self._closed = Flag()
        self._events = SimpleQueue[Event]()
        self._queue = SimpleQueue[_Task | None]()
        self._threads = 0
        self._unfinished: dict[str, _Task] = {}

    @property
    def workers(self) -> int:
        return self._workers

    def submit(
        self,
        key: str,
        call: Call,
        *,
        limited: bool = True,  # noqa: ARG002 - a thread cannot be ended, and has no time limit
    ) -> None:
        check_key(key, self._unfinished, closed=self._closed.is_set())
        task = self._unfinished[key] = _Task(key, call, self._events, self._closed)
        self._queue.put(task)
        if self._threads < min(self._workers, len(self._unfinished)):
            self._threads += 1
            Thread(target=_work, args=(self._queue, self._events), daemon=True).start()

    def wait(self, timeout_s: float | None = None) -> list[Event]:
        events: list[Event] = []
        if self._unfinished:
            with contextlib.suppress(Empty):
                events.append(self._events.get(timeout=timeout_s))
                events += [self._events.get() for _ in range(self._events.qsize())]
        for event in events:
            if isinstance(event, Finished | Failed):
                del self._unfinished[event.key]
        return events

    def answer(self, key: str, answer: Any) -> None:
        task = self._unfinished.get(key)
        if task is not None and task.asks:
            task.asks = False
            task.answers.put(answer)

    def close(self) -> None:
        self._closed.set()
        for task in self._unfinished.values():
            task.answers.put(None)
        self._unfinished.clear()
        for _ in range(self._threads):
            self._queue.put(None)


class _Task:
    """A task, and its channel."""

    def __init__(self, key: str, call: Call, events: "SimpleQueue[Event]", closed: Flag) -> None:
        self._key = key
        self._call = call
        self._events = events
        self._closed = closed
        self.asks = False
        self.answers = SimpleQueue[Any]()

    def run(self) -> Event:
        try:
            self._refuse_when_closed()
            return Finished(self._key, self._call(self))
        # A task may also call sys.exit.
        except BaseException as error:
            return Failed(self._key, error)

    def tell(self, message: Any) -> None:
        self._refuse_when_closed()
        self._events.put(Told(self._key, message))

    def ask(self, message: Any) -> Any:
        self._refuse_when_closed()
        self.asks = True
        self._events.put(Asked(self._key, message))
        answer = self.answers.get()
        self._refuse_when_closed()
        return answer

    def _refuse_when_closed(self) -> None:
        if self._closed.is_set():
            raise TaskError("the executor was closed")


def _work(queue: "SimpleQueue[_Task | None]", events: "SimpleQueue[Event]") -> None:
    while (task := queue.get()) is not None:
        events.put(task.run())
