"""Asks a study for a trial, with all its parameters, in one transaction."""

from collections.abc import Callable, Container, Mapping, Sequence
from copy import deepcopy
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.storage.cached import begun, copied
from nas.storage.forwarding import ForwardingStorage, R, forward

_DRAFT = -1


def ask(
    study: Study,
    distributions: Mapping[str, BaseDistribution],
    user_attrs: Mapping[str, Any] | None = None,
) -> Trial:
    """A running trial that has a value for each of ``distributions``.

    As ``study.ask(distributions)``: a waiting trial, where there is one, or what the study's
    sampler proposes. But Optuna writes a trial, and then every parameter in a transaction of its
    own. Here the sampler works on a draft of the trial, and the trial is made with all that the
    draft holds: parameters, the sampler's attributes, and ``user_attrs``. So there is no moment at
    which a trial is running and has none, neither for other processes nor for one that is started
    after a crash.

    Where several processes ask at once, a draft's number may be another one than the trial's.
    """
    draft = _DraftStorage(study)
    asking = Study(study.study_name, draft, sampler=study.sampler, pruner=study.pruner)
    asked = asking.ask(dict(distributions))
    trial_id = asked._trial_id
    if draft.trial is not None:
        draft.trial.user_attrs |= user_attrs or {}
        trial_id = study._storage.create_new_trial(study._study_id, draft.trial)
    # The study's sampler has seen the trial begin, and need not see it again.
    asking.sampler = RandomSampler()
    trial = Trial(asking, trial_id)
    trial.study, trial.storage = study, study._storage
    if draft.trial is None:
        # A waiting trial has its choices, and Optuna does not ask the sampler then; NSGA-II gives a
        # trial its generation when it is asked, and has no use for trials without one.
        _ = asked.relative_params
        for key, value in (user_attrs or {}).items():
            trial.set_user_attr(key, value)
    return trial


class _DraftStorage(ForwardingStorage):
    """A study's storage in which a new trial is only a draft; everything else goes to the storage.

    It reads the study's trials once, so all that a sampler sees is of one moment.
    """

    def __init__(self, study: Study) -> None:
        self.trial: FrozenTrial | None = None
        self._study = study
        self._trials: list[FrozenTrial] | None = None

    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        answer: Any
        match method.__name__, arguments:
            case "get_study_id_from_name", _:
                answer = self._study._study_id
            case "get_study_directions", _:
                answer = self._study.directions
            case "get_all_trials", (_, deep, states):
                answer = self._known(deep, states)
            case "create_new_trial", _:
                answer = self._begin()
            case name, (trial_id, *values) if trial_id == _DRAFT and self.trial is not None:
                answer = self._draft(name, values, self.trial)
            case name, _:
                answer = forward(self._study._storage, method, *arguments)
                if name == "set_trial_state_values":
                    self._trials = None  # a waiting trial runs now
        return answer  # type: ignore[no-any-return]

    def _known(self, deep: bool, states: Container[TrialState] | None) -> list[FrozenTrial]:
        if self._trials is None:
            self._trials = self._study.get_trials(deepcopy=False)
        trials = self._trials if self.trial is None else [*self._trials, copied(self.trial)]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return deepcopy(trials) if deep else trials

    def _begin(self) -> int:
        known = self._known(deep=False, states=None)
        number = known[-1].number + 1 if known else 0
        self.trial = begun(number=number, trial_id=_DRAFT)
        return _DRAFT

    def _draft(self, name: str, values: Sequence[Any], trial: FrozenTrial) -> FrozenTrial | None:
        """Answer what Optuna's trial and samplers ask a storage about a trial that begins."""
        match name, values:
            case "get_trial", ():
                return copied(trial)
            case "set_trial_param", (param, internal, distribution):
                trial.params[param] = distribution.to_external_repr(internal)
                trial.distributions[param] = distribution
            case "set_trial_system_attr", (key, value):
                trial.system_attrs[key] = value
            case "set_trial_user_attr", (key, value):
                trial.user_attrs[key] = value
            case _:
                raise AssertionError(f"a sampler calls {name} before its trial has begun")
        return None
