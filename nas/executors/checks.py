"""Checks of an executor's settings."""

import os
from collections.abc import Container
from typing import Any

from nas.checks import check_range


def check_key(key: str, unfinished: Container[str], *, closed: bool) -> None:
    """See that a task may be submitted.

    Raises:
        ValueError: it may not.
    """
    if closed:
        raise ValueError(f"task {key!r} was submitted after the executor was closed")
    if key in unfinished:
        raise ValueError(f"task {key!r} is not finished yet; another one must have another key")


def whole_number(field: str, value: Any, low: int, high: int) -> int:
    """``value``, if it is an integer in ``low``..``high``.

    Raises:
        ValueError: it is not.
    """
    check_range(f"executor.{field}", value, low, high, whole=True)
    return int(value)


def worker_count(value: Any) -> int:
    """``executor.workers`` of this machine; ``None``: one a core that this process may use.

    Raises:
        ValueError: it cannot be used.
    """
    if value is None:
        return len(os.sched_getaffinity(0))
    return whole_number("workers", value, 1, 1024)


def retry_count(value: Any) -> int:
    """``executor.retries``.

    Raises:
        ValueError: it cannot be used.
    """
    return whole_number("retries", value, 0, 100)


def time_limit(value: Any) -> float | None:
    """``executor.time_limit_s``.

    Raises:
        ValueError: it cannot be used.
    """
    if value is None:
        return None
    if type(value) not in (int, float) or not 0.001 <= value <= 1e9:
        raise ValueError(
            "executor.time_limit_s must be seconds in 0.001..1e9, or null for no limit, but got "
            f"{value!r:.80}"
        )
    return float(value)
