"""Executors: independent tasks → where they run."""

from nas.executors.base import (
    Asked,
    Call,
    Channel,
    Died,
    Event,
    Executor,
    Failed,
    Finished,
    Retried,
    Told,
)

__all__ = [
    "Asked",
    "Call",
    "Channel",
    "Died",
    "Event",
    "Executor",
    "Failed",
    "Finished",
    "Retried",
    "Told",
]
