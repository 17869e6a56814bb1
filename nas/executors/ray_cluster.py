"""Workers on a Ray cluster: one that is there, or one of this machine alone."""

import importlib.util
import logging
import math
import os
import re
import socket
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, final

from nas.checks import check_range
from nas.executors.checks import retry_count, time_limit, whole_number
from nas.executors.pool import PooledExecutor, WorkerDiedError
from nas.executors.worker import serve

_HANDED_ON = ("OMP_WAIT_POLICY",)
"""Variables of the environment that must be set before a worker loads torch."""


@final
class RayExecutor(PooledExecutor["_RemoteWorker"]):
    """Runs tasks in Ray actors, each of which holds its share of the cluster until ``close``.

    Ray is connected to, or started, when the first task is submitted or ``workers`` is asked for.
    Where this process is connected to a cluster already, that is used, and left as it is. Workers
    look for modules where this process does, so the same folders must be on all machines. What
    tasks print goes to the logs of Ray.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        cpus_per_task: float = 1,
        gpus_per_task: float = 0,
        retries: int = 1,
        time_limit_s: float | None = None,
    ) -> None:
        """What can be set.

        Args:
            workers: how many tasks run at once; ``None`` for as many as fit.
            address: ``host:port`` of a cluster that this machine is a node of; ``"auto"`` for the
                one that runs here or that ``RAY_ADDRESS`` names; ``None`` to start one of this
                machine alone, which ends with the executor or with this process.
            cpus_per_task: cores that a task reserves.
            gpus_per_task: GPUs that a task reserves; below 1, several tasks share one.
            retries: how often a task is run again whose worker died or was too slow.
            time_limit_s: how long a task may run, each time.

        Raises:
            ValueError: a value is out of range, or Ray is not installed.
        """
        super().__init__(retries=retry_count(retries), time_limit_s=time_limit(time_limit_s))
        self._given = None if workers is None else whole_number("workers", workers, 1, 10_000)
        self._address = _checked_address(address)
        self._needs = {
            "CPU": _share("cpus_per_task", cpus_per_task, low=0.01),
            "GPU": _share("gpus_per_task", gpus_per_task, low=0),
        }
        if self._needs["GPU"] > 1 and self._needs["GPU"] % 1:
            raise ValueError(
                "executor.gpus_per_task must be whole where it is above 1, but got "
                f"{gpus_per_task!r}"
            )
        if importlib.util.find_spec("ray") is None:
            raise ValueError("executor=ray needs Ray, which is missing: pip install chronas[ray]")
        self._room: int | None = None
        self._connected_here = False

    @property
    def workers(self) -> int:
        return self._given or self._connected()

    def close(self) -> None:
        self._stop_workers()
        if self._connected_here:
            import ray

            self._connected_here = False
            ray.shutdown()
            _hear_raylets(True)

    def _start_worker(self) -> "_RemoteWorker":
        self._connected()
        return _RemoteWorker(self._needs)

    def _with_news(
        self, workers: Sequence["_RemoteWorker"], timeout_s: float | None
    ) -> Collection["_RemoteWorker"]:
        import ray

        by_message = {worker.message: worker for worker in workers}
        waited_for = list(by_message)
        found, _ = ray.wait(waited_for, timeout=timeout_s)
        if found and len(waited_for) > 1:
            found, _ = ray.wait(waited_for, num_returns=len(waited_for), timeout=0)
        return [by_message[message] for message in found]

    def _connected(self) -> int:
        """Connect to Ray where that has not been done.

        Returns:
            How many tasks the cluster has room for.

        Raises:
            ValueError: there is no cluster at the address, or it has no room for a task.
        """
        if self._room is None:
            import ray

            if not ray.is_initialized():
                _connect(self._address)
                self._connected_here = True
            room = _room(self._needs, ray.nodes())
            self._check_room(room)
            self._room = room
        return self._room

    def _check_room(self, room: int) -> None:
        if self._address is not None and self._given is not None:
            return  # such a cluster may grow
        asked = 1 if self._given is None else self._given
        if asked > room:
            needs = f"cpus_per_task={self._needs['CPU']:g} and gpus_per_task={self._needs['GPU']:g}"
            raise ValueError(
                f"executor.workers={asked} with {needs} does not fit into the Ray cluster, which "
                f"has room for {room} such tasks"
            )


class _RemoteWorker:
    """The near side of a worker: an actor, and its next message."""

    def __init__(self, needs: dict[str, float]) -> None:
        import ray

        environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(str(path or Path.cwd()) for path in sys.path)
        actor = ray.remote(_Actor).options(
            num_cpus=needs["CPU"],
            num_gpus=needs["GPU"],
            max_concurrency=2,  # one call of each method
            runtime_env={"env_vars": environment},
        )
        self._actor = actor.remote()
        self.message = self._actor.next.remote()

    def send(self, data: bytes) -> None:
        self._actor.post.remote(data)

    def receive(self) -> bytes:
        import ray

        try:
            data: bytes = ray.get(self.message)
        except ray.exceptions.RayError as error:
            raise WorkerDiedError(_how_it_ended(error)) from None
        self.message = self._actor.next.remote()
        return data

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


class _Actor:
    """The far side of a worker."""

    def __init__(self) -> None:
        self._inbox, self._outbox = SimpleQueue[bytes](), SimpleQueue[bytes]()
        Thread(target=serve, args=(self._inbox.get, self._outbox.put), daemon=True).start()

    def post(self, data: bytes) -> None:
        self._inbox.put(data)

    def next(self) -> bytes:
        return self._outbox.get()


def _share(field: str, value: Any, *, low: float) -> float:
    check_range(f"executor.{field}", value, low, 1024)
    return float(value)


def _checked_address(address: Any) -> str | None:
    known = address is None or address == "auto"
    if not known and not re.fullmatch(r"[\w.:\[\]-]+:\d{1,5}", str(address)):
        raise ValueError(
            "executor.address must be the host:port of a Ray cluster, or auto, or null to have one "
            f"started, but got {address!r:.80}"
        )
    return address if address is None else str(address)


def _connect(address: str | None) -> None:
    # Ray would else tell its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        if address is not None:
            _knock(os.environ.get("RAY_ADDRESS", "auto") if address == "auto" else address)
        ray.init(
            address="local" if address is None else address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if address is None:
            raise ValueError(f"Ray cannot be started on this machine: {reason}") from error
        raise ValueError(
            f"no Ray cluster can be reached at executor.address={address} ({reason}); start one "
            "with `ray start --head`, set RAY_AUTH_MODE=token if it wants a token, or give "
            "executor.address=null to have one started"
        ) from error
    _hear_raylets(False)


def _knock(address: str) -> None:
    """See that something listens at ``host:port``; Ray itself would try for minutes.

    Raises:
        OSError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _hear_raylets(printed: bool) -> None:
    """Whether Ray prints on stdout that a worker has died, which is an event here."""
    import ray._private.worker

    vars(ray._private.worker)["_worker_logs_enabled"] = printed


def _room(needs: dict[str, float], nodes: Sequence[dict[str, Any]]) -> int:
    """How many tasks the nodes hold at once; a task cannot be on two of them."""
    return sum(
        min(
            math.floor(node["Resources"].get(name, 0) / need + 1e-9)
            for name, need in needs.items()
            if need > 0
        )
        for node in nodes
        if node["Alive"]
    )


def _how_it_ended(error: Exception) -> str:
    *_, last = str(error).strip().splitlines() or [type(error).__name__]
    cause, _, _ = last.partition(" Some common causes include")
    if "worker process has died" in cause:
        _, _, detail = cause.rpartition("Worker exit detail: ")
        return f"its Ray worker crashed or was killed, perhaps because memory ran out ({detail})"
    return f"its Ray worker is lost: {cause}"
