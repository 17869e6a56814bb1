"""The server's side of ``grpc://``: Optuna's service, which writes a finished trial down once."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import grpc
from optuna.storages import BaseStorage
from optuna.storages._grpc import servicer
from optuna.storages._grpc.auto_generated import api_pb2, api_pb2_grpc


class Service(servicer.OptunaStorageProxyService):
    """Answers as Optuna's does.

    Every driver reads every finished trial, and to write one down takes as long as twenty answers
    that repeat it. So what was written down is kept.
    """

    def __init__(self, storage: BaseStorage) -> None:
        super().__init__(storage)
        self._storage = storage
        self._finished: defaultdict[int, dict[int, api_pb2.Trial]] = defaultdict(dict)

    def GetTrials(  # noqa: N802 - the protocol's
        self, request: api_pb2.GetTrialsRequest, context: grpc.ServicerContext
    ) -> api_pb2.GetTrialsReply:
        again, after = set(request.included_trial_ids), request.trial_id_greater_than
        try:
            trials = self._storage.get_all_trials(request.study_id, deepcopy=False)
        except KeyError as error:
            context.abort(code=grpc.StatusCode.NOT_FOUND, details=str(error))
        finished = self._finished[request.study_id]
        messages = []
        for trial in trials:
            trial_id = trial._trial_id
            if trial_id > after or trial_id in again:
                message = finished.get(trial_id)
                if message is None:
                    message = servicer._to_proto_trial(trial)
                    if trial.state.is_finished():
                        finished[trial_id] = message
                messages.append(message)
        return api_pb2.GetTrialsReply(trials=messages)

    def DeleteStudy(  # noqa: N802
        self, request: api_pb2.DeleteStudyRequest, context: grpc.ServicerContext
    ) -> api_pb2.DeleteStudyReply:
        self._finished.pop(request.study_id, None)
        return super().DeleteStudy(request, context)


def serve(storage: BaseStorage, host: str, port: int, pool: ThreadPoolExecutor) -> None:
    """Answer at ``host:port`` until the process ends; an IPv6 address has brackets around it."""
    server = grpc.server(pool)
    add = api_pb2_grpc.add_StorageServiceServicer_to_server
    add(Service(storage), server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(f"{host}:{port}")
    server.start()
    server.wait_for_termination()
