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
    TaskError,
    Told,
)
from nas.executors.local import LocalExecutor
from nas.executors.ray_cluster import RayExecutor
from nas.executors.threads import ThreadExecutor

__all__ = [
    "Asked",
    "Call",
    "Channel",
    "Died",
    "Event",
    "Executor",
    "Failed",
    "Finished",
    "LocalExecutor",
    "RayExecutor",
    "Retried",
    "TaskError",
    "ThreadExecutor",
    "Told",
]
