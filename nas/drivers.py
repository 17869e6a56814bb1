"""Processes that share a study: which trials count, and what becomes of a dead process's trials.

A *driver* is a process that asks for trials and tells their results. Usually there is one; in a
PostgreSQL database several can work on one study. Nothing here needs clocks that agree, nor locks:
trial numbers are given out by the storage, one after the other, and a trial is closed once.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.study import QUEUED_FOR, is_counted

DRIVER, INTERRUPTED, SURPLUS = "driver", "interrupted", "surplus"
BEAT_SECONDS = 10.0
_LISTENING_SECONDS = 2 * BEAT_SECONDS
"""Between two signs of life of a driver that can hear the others in the meantime."""
_IDLE_SECONDS = 0.5
_BEAT = "beat of driver "


class Driver:
    """This process among those that share a study.

    ``name`` is that of the process before it where a search goes on: its unfinished trials are
    taken back at once, those of other drivers after ``patience_s`` without a sign of life.
    """

    def __init__(self, study: optuna.Study, name: str, *, patience_s: float = 120.0) -> None:
        self.study = study
        self.name = name
        self._patience_s = patience_s
        self._mine: set[int] = set()
        self._heard: dict[str, tuple[object, float]] = {}
        self._beats = uuid.uuid4().hex[:8]
        self._beaten = -float("inf")
        self._count = 0

    def beat(self) -> None:
        """Give a sign of life, and take back the trials of drivers that have given none."""
        now = time.monotonic()
        if now - self._beaten < BEAT_SECONDS:
            return
        if now - self._beaten > _LISTENING_SECONDS:
            # Suspended, or without the storage, it heard nothing, and that says nothing of others.
            self._heard.clear()
        self._beaten = now
        self._count += 1
        self.study.set_user_attr(_BEAT + self.name, f"{self._beats} {self._count}")
        self._take_back(now)

    def adopt(self, trial: Trial, known: Sequence[FrozenTrial], trials: int) -> bool:
        """Make a trial that was just asked for this driver's own; ``known`` was read since.

        False, and the trial closed, where it is not needed: two drivers that ask for the last trial
        both get one, and a network that was interrupted may have been queued twice.
        """
        self._mine.add(trial.number)
        earlier = [
            other for other in known if other.number < trial.number and _counts_or_may(other)
        ]
        queued_for = trial.user_attrs.get(QUEUED_FOR)
        again = queued_for is not None and any(
            other.user_attrs.get(QUEUED_FOR) == queued_for for other in earlier
        )
        if len(earlier) >= trials or again:
            self.tell(trial, state=TrialState.FAIL, attributes={SURPLUS: True})
            return False
        return True

    def tell(
        self,
        trial: Trial,
        values: Sequence[float] | None = None,
        *,
        state: TrialState | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> FrozenTrial | None:
        """Finish one of this driver's trials, as ``study.tell`` does, with attributes.

        ``None``, and nothing is told, where another driver has taken it back: it took this one,
        which was suspended or cut off from the storage, for dead.
        """
        try:
            for name, value in (attributes or {}).items():
                trial.set_user_attr(name, value)
            told = self.study.tell(trial, values, state, skip_if_finished=True)
        except UpdateFinishedTrialError:
            return None
        return None if _was_interrupted(told) else told

    def idle(self) -> None:
        """Wait a moment for other drivers to finish theirs."""
        time.sleep(_IDLE_SECONDS)

    def _take_back(self, now: float) -> None:
        """Close the running trials of dead drivers, and queue their networks again."""
        beats = self.study.user_attrs
        known = self.study.get_trials(deepcopy=False)
        for trial in known:
            if trial.state != TrialState.RUNNING or trial.number in self._mine:
                continue
            owner = trial.user_attrs.get(DRIVER)
            if owner != self.name and not self._is_dead(trial, owner, beats, now):
                continue
            try:
                Trial(self.study, trial._trial_id).set_user_attr(INTERRUPTED, True)
                self.study.tell(trial.number, state=TrialState.FAIL)
            except (UpdateFinishedTrialError, ValueError):
                continue  # it was finished, or taken back by another driver, in the meantime
        self._queue_interrupted()

    def _is_dead(
        self, trial: FrozenTrial, owner: str | None, beats: dict[str, object], now: float
    ) -> bool:
        # A trial that a driver died over before it could put its name on it has no owner.
        key = f"trial {trial.number}" if owner is None else owner
        beat = None if owner is None else beats.get(_BEAT + owner)
        heard, since = self._heard.get(key, (None, now))
        if key not in self._heard or heard != beat:
            self._heard[key] = (beat, now)
            return False
        return now - since > self._patience_s

    def _queue_interrupted(self) -> None:
        known = self.study.get_trials(deepcopy=False)
        queued = {trial.user_attrs.get(QUEUED_FOR) for trial in known}
        for trial in known:
            if _was_interrupted(trial) and trial.number not in queued:
                network = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
                if network:
                    self.study.enqueue_trial(network, user_attrs={QUEUED_FOR: trial.number})


def wanted(known: Sequence[FrozenTrial], trials: int) -> int:
    """How many trials are still to be asked for."""
    taken = sum(_counts_or_may(trial) and trial.state != TrialState.WAITING for trial in known)
    return trials - taken


def is_complete(known: Sequence[FrozenTrial], trials: int) -> bool:
    """Whether as many trials as were asked for are finished."""
    return sum(map(is_counted, known)) >= trials


def _was_interrupted(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and INTERRUPTED in trial.user_attrs


def _counts_or_may(trial: FrozenTrial) -> bool:
    """Whether a trial is finished and counts, or may do so yet."""
    return is_counted(trial) or not trial.state.is_finished()
