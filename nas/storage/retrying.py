"""A storage whose calls outlive a connection: PostgreSQL or the proxy may be restarted."""

import time
import uuid
from collections.abc import Callable
from copy import copy
from typing import Any

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from nas.storage.cached import begun
from nas.storage.faults import GOES_ON, ConnectionLost, StorageError
from nas.storage.forwarding import ForwardingStorage, R, forward

PATIENCE_S = 300.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
ONCE = "chronas:once"
"""The system attribute that a trial is known by again where the answer to its making was lost."""


class RetryingStorage(ForwardingStorage):
    """Asks again, for up to ``patience_s`` a call, where ``inner`` raises ``ConnectionLost``.

    A call whose answer was lost may have been carried out. Asked again, it does no harm:

    - a trial is made once, for it bears a mark that is looked for first;
    - a trial that is finished as was asked is finished;
    - parameters, values and attributes are written over with the same;
    - a *waiting* trial that is started twice is running, and the answer is that another process has
      it. It may be nobody's then, like the trial of a process that died before it said anything.

    Attributes:
        on_wait: is told, once for every time that the connection is lost, why it takes longer.
        close: gives back connections. The storage is of no use afterwards.

    Raises:
        StorageError: in any call: there was no answer for so long, or something has to be mended.
    """

    def __init__(
        self,
        inner: BaseStorage,
        *,
        close: Callable[[], None],
        patience_s: float = PATIENCE_S,
        on_wait: Callable[[str], None] | None = None,
    ) -> None:
        self.close = close
        self.on_wait = on_wait
        self._inner = inner
        self._patience_s = patience_s
        self._is_waiting = False

    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        if method.__name__ == "create_new_trial":
            arguments = _marked(*arguments)
        away_since, failures = 0.0, 0
        while True:
            try:
                answer: R
                if failures:
                    answer = _ask_again(self._inner, method.__name__, arguments)
                else:
                    answer = forward(self._inner, method, *arguments)
            except ConnectionLost as lost:
                if not failures:
                    # How long the call hung before is no sign that the server is away for good.
                    away_since = time.monotonic()
                failures += 1
                self._pause(str(lost), failures, time.monotonic() - away_since)
            else:
                self._is_waiting = False
                return answer

    def _pause(self, reason: str, failures: int, waited_s: float) -> None:
        left_s = self._patience_s - waited_s
        if left_s <= 0:
            raise StorageError(
                f"{reason}, for {self._patience_s:g} s by now; start it again, {GOES_ON}"
            )
        if failures == 1:
            return  # most likely the server was restarted since the last call, and is there again
        if not self._is_waiting:
            self._is_waiting = True
            if self.on_wait is not None:
                self.on_wait(f"{reason}; waiting for it")
        time.sleep(min(FIRST_PAUSE_S * 2 ** (failures - 2), LONGEST_PAUSE_S, left_s))


def _marked(study_id: int, template: FrozenTrial | None) -> tuple[int, FrozenTrial]:
    """The same trial, with a mark of its own."""
    marked = begun(number=-1, trial_id=-1) if template is None else copy(template)
    # A proxy that makes a trial for a client leaves the client's mark on it.
    marked.system_attrs = {ONCE: uuid.uuid4().hex, **marked.system_attrs}
    return study_id, marked


def _ask_again(storage: BaseStorage, method: str, arguments: tuple[Any, ...]) -> Any:
    """Carry out a call that may have been carried out."""
    match method, arguments:
        case "create_new_trial", (study_id, template):
            for trial in reversed(storage.get_all_trials(study_id, False)):
                if trial.system_attrs.get(ONCE) == template.system_attrs[ONCE]:
                    return trial._trial_id
        case "set_trial_state_values", (trial_id, state, values):
            trial = storage.get_trial(trial_id)
            if state.is_finished() and (trial.state, trial.values) == (state, values):
                return True
        case "delete_study", (study_id,):
            if all(study._study_id != study_id for study in storage.get_all_studies()):
                return None
    return getattr(storage, method)(*arguments)
