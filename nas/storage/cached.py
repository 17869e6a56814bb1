"""A storage that reads of a study's trials only what is new."""

import threading
import time
from collections.abc import Callable, Collection, Container, Mapping
from copy import copy, deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.storage.forwarding import ForwardingStorage, R, forward

OTHERS_S, OWN_S = 1.0, 10.0
"""How long what was read of an unfinished trial holds, where nothing was written to it here."""
MOST_AGAIN = 16
"""Unfinished trials of others that are read again in a call: hundreds of drivers, each of which
read those of all others, would leave the storage no time for anything else.
"""


class TrialRows(Protocol):
    """Makes and reads trials."""

    @property
    def sees_states(self) -> bool:
        """Whether ``read`` notices a new state by itself, for next to nothing."""
        ...

    def create(self, study_id: int, template: FrozenTrial) -> int:
        """Make a trial, with all that the template has, at once; returns its id.

        Raises:
            KeyError: there is no such study.
            ValueError: a parameter has other choices than in the study's earlier trials.
        """
        ...

    def read(
        self, study_id: int, *, after: int, again: Collection[int], states: Mapping[int, TrialState]
    ) -> list[FrozenTrial]:
        """The trials with an id above ``after``, and those of ``again``, in order of ids.

        With ``sees_states`` also those of ``states`` whose state is another one.
        """
        ...


@dataclass(slots=True)
class _Study:
    """What was read of a study: its trials by id, which is in order of their numbers."""

    trials: dict[int, FrozenTrial] = field(default_factory=dict)
    last: int = -1
    read_at: dict[int, float] = field(default_factory=dict)
    """Of trials that are not finished."""

    def add(self, read: list[FrozenTrial], now: float) -> None:
        for trial in read:
            trial_id = trial._trial_id
            self.trials[trial_id] = trial
            self.last = max(self.last, trial_id)
            self.read_at[trial_id] = now
            if trial.state.is_finished():
                del self.read_at[trial_id]


class CachedStorage(ForwardingStorage):
    """Reads through ``rows``, each finished trial once, and leaves all else to ``inner``.

    It differs from Optuna's own cache in what is unfinished. That one reads all running trials anew
    in every call, with their parameters: with 200 workers, this is all that a search would do. Here
    what was written through this object is seen at once, and new trials are; attributes that others
    write to their running trials after ``OTHERS_S``. Of a trial that nobody else writes to, Optuna
    says the same: a running trial belongs to whoever started it. Where more than ``MOST_AGAIN``
    run, several calls go through them.
    """

    def __init__(self, inner: BaseStorage, rows: TrialRows) -> None:
        self._inner = inner
        self._rows = rows
        self._lock = threading.RLock()
        self._studies: dict[int, _Study] = {}
        self._study_of: dict[int, int] = {}
        self._own: set[int] = set()
        self._written: set[int] = set()

    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        answer: Any
        match method.__name__:
            case "create_new_trial":
                answer = self._create(*arguments)
            case "get_trial":
                answer = self._trial(*arguments)
            case "get_all_trials":
                answer = self._trials(*arguments)
            case "delete_study":
                answer = self._inner.delete_study(*arguments)
                self._forget(*arguments)
            case name if name.startswith("set_trial_"):
                answer = self._write(method, *arguments)
            case _:
                answer = forward(self._inner, method, *arguments)
        return answer  # type: ignore[no-any-return]

    def _create(self, study_id: int, template: FrozenTrial) -> int:
        trial_id = self._rows.create(study_id, template)
        with self._lock:
            self._study_of[trial_id] = study_id
            self._own.add(trial_id)
        return trial_id

    def _forget(self, study_id: int) -> None:
        with self._lock:
            for trial_id in self._studies.pop(study_id, _Study()).trials:
                self._study_of.pop(trial_id, None)

    def _write(self, method: Callable[..., Any], trial_id: int, *arguments: Any) -> Any:
        try:
            answer = forward(self._inner, method, trial_id, *arguments)
        finally:
            # Afterwards, and also where the answer was lost: a read in between may miss it.
            with self._lock:
                self._written.add(trial_id)
        if answer is not False:
            with self._lock:
                self._own.add(trial_id)
        return answer

    def _trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            study_id = self._study_of.get(trial_id)
            if study_id is None:
                return self._inner.get_trial(trial_id)
            known = self._studies.get(study_id, _Study()).trials.get(trial_id)
            if known is not None and known.state.is_finished():
                return known
            if not self._rows.sees_states:
                self._written.add(trial_id)
            return copied(self._refreshed(study_id).trials[trial_id])

    def _trials(
        self, study_id: int, deep: bool, states: Container[TrialState] | None
    ) -> list[FrozenTrial]:
        with self._lock:
            trials = list(self._refreshed(study_id).trials.values())
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return deepcopy(trials) if deep else trials

    def _refreshed(self, study_id: int) -> _Study:
        study = self._studies.get(study_id)
        if study is None:
            self._inner.get_study_name_from_id(study_id)  # KeyError: there is none
            study = self._studies[study_id] = _Study()
        now = time.monotonic()
        written = {one for one in self._written if self._study_of.get(one) == study_id}
        self._written -= written
        stale = [
            trial_id
            for trial_id, read_at in study.read_at.items()
            if now - read_at >= (OWN_S if trial_id in self._own else OTHERS_S)
        ]
        stale.sort(key=study.read_at.__getitem__)
        again = {*stale[:MOST_AGAIN], *(written & study.read_at.keys())}
        states = {trial_id: study.trials[trial_id].state for trial_id in study.read_at}
        try:
            read = self._rows.read(study_id, after=study.last, again=again, states=states)
        except BaseException:
            self._written |= written
            raise
        study.add(read, now)
        for trial in read:
            self._study_of[trial._trial_id] = study_id
            if trial.state.is_finished():
                self._own.discard(trial._trial_id)
        return study


def copied(trial: FrozenTrial) -> FrozenTrial:
    """A trial that ``optuna.Trial`` may write into."""
    own = copy(trial)
    own.params = dict(trial.params)
    own.distributions = dict(trial.distributions)
    own.user_attrs = dict(trial.user_attrs)
    own.system_attrs = dict(trial.system_attrs)
    own.intermediate_values = dict(trial.intermediate_values)
    return own


def begun(*, number: int, trial_id: int) -> FrozenTrial:
    """A trial that runs from now on, and of which nothing else is known."""
    return FrozenTrial(
        number=number,
        trial_id=trial_id,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
