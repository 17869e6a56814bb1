"""Making batches while earlier ones are being used."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

BATCHES_AHEAD = 2


def work_ahead(makers: Iterable[Callable[[], T]], ahead: int = BATCHES_AHEAD) -> Iterator[T]:
    """What ``makers`` return, in order, made by one thread that is up to ``ahead`` further.

    Makers are taken from their iterable in the caller's thread. Whoever stops early closes the
    generator, and what was not begun is never done.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    pending: deque[Future[T]] = deque()
    try:
        for maker in makers:
            pending.append(thread.submit(maker))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        thread.shutdown(wait=True, cancel_futures=True)
