"""Trials behind Optuna's gRPC proxy."""

import threading
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import grpc
from optuna.exceptions import ExperimentalWarning
from optuna.storages import GrpcStorageProxy
from optuna.storages._grpc import servicer
from optuna.storages._grpc.auto_generated import api_pb2
from optuna.trial import FrozenTrial, TrialState

from nas.storage.faults import ConnectionLost, StorageError
from nas.storage.forwarding import ForwardingStorage, R, forward
from nas.storage.urls import StorageProxy

T = TypeVar("T")

_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class ProxiedStorage(ForwardingStorage):
    """Optuna's client of the proxy, which is also its own ``TrialRows``.

    Raises:
        ConnectionLost: in any call: the proxy is away.
        StorageError: the proxy cannot use its storage.
    """

    sees_states = False

    def __init__(self, place: StorageProxy) -> None:
        self._place = place
        self._client = _connect(place)
        self._renewing = threading.Lock()

    def wait(self, timeout_s: float) -> None:
        """Wait until the proxy answers.

        Raises:
            StorageError: it does not.
        """
        try:
            self._client.wait_server_ready(timeout_s)
        except ConnectionError:
            raise StorageError(
                f"no storage proxy answers at {self._place}; start one with `python -m "
                f"nas.storage_proxy --storage … --port {self._place.port}`, or correct the URL"
            ) from None

    def close(self) -> None:
        self._client.close()

    def create(self, study_id: int, template: FrozenTrial) -> int:
        return self.create_new_trial(study_id, template)

    def read(
        self,
        study_id: int,
        *,
        after: int,
        again: Collection[int],
        states: Mapping[int, TrialState],  # noqa: ARG002 - the protocol has no question for it
    ) -> list[FrozenTrial]:
        request = api_pb2.GetTrialsRequest(
            study_id=study_id, included_trial_ids=again, trial_id_greater_than=after
        )
        try:
            found = self._answer(lambda client: client._stub.GetTrials(request))
        except StorageError as error:
            if _status(error) is grpc.StatusCode.NOT_FOUND:
                raise KeyError(f"there is no study of id {study_id}") from None
            raise
        trials = [servicer._from_proto_trial(trial) for trial in found.trials]
        return sorted(trials, key=lambda trial: trial._trial_id)

    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        return self._answer(lambda client: forward(client, method, *arguments))

    def _answer(self, ask: Callable[[GrpcStorageProxy], T]) -> T:
        client = self._client
        try:
            return ask(client)
        except grpc.RpcError as error:
            details = str(error.details()).strip().partition("\n")[0]
            if error.code() in _AWAY:
                raise self._renewed(client, details) from None
            details = details.removeprefix("Exception calling application: ")
            message = f"the storage proxy at {self._place} failed: {details}"
            raise StorageError(message) from error
        except ValueError as error:
            if "closed channel" in str(error):  # another thread has just renewed the client
                raise self._renewed(client, "") from None
            raise

    def _renewed(self, client: GrpcStorageProxy, details: str) -> ConnectionLost:
        """Make a new client: the channel of the old one tries ever less often to connect, in the
        end every two minutes.
        """
        with self._renewing:
            if self._client is client:
                client.close()
                self._client = _connect(self._place)
        return ConnectionLost(f"{self._place} cannot be reached ({details})")


def _status(error: StorageError) -> Any:
    cause = error.__cause__
    return cause.code() if isinstance(cause, grpc.RpcError) else None


def _connect(place: StorageProxy) -> GrpcStorageProxy:
    with warnings.catch_warnings():
        # The only interface that Optuna has for this, and part of it since 4.2.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return GrpcStorageProxy(host=place.host, port=place.port)
