from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from nas.storage import RetryingStorage, StorageError, retrying
from nas.storage.faults import ConnectionLost
from nas.storage.forwarding import ForwardingStorage, R, forward

CHOICES = CategoricalDistribution((3, 5))


class Unreliable(ForwardingStorage):
    """Loses the connection before calls are carried out, or after.

    Attributes:
        lost: how often, from now on.
    """

    def __init__(self, *, afterwards: bool) -> None:
        self.storage = InMemoryStorage()
        self.afterwards = afterwards
        self.lost = 0

    def _call(self, method: Callable[..., R], *arguments: Any) -> R:
        if self.lost and not self.afterwards:
            self.lost -= 1
            raise ConnectionLost("the cable is out")
        answer = forward(self.storage, method, *arguments)
        if self.lost:
            self.lost -= 1
            raise ConnectionLost("the cable is out")
        return answer


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    taken: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", taken.append)
    return taken


@pytest.fixture(params=[False, True], ids=["before", "after"])
def inner(request: pytest.FixtureRequest) -> Unreliable:
    return Unreliable(afterwards=request.param)


@pytest.fixture
def storage(inner: Unreliable) -> RetryingStorage:
    return RetryingStorage(inner, close=lambda: None)


@pytest.fixture
def study_id(storage: RetryingStorage) -> int:
    return storage.create_new_study([StudyDirection.MAXIMIZE], "study")


def test_a_trial_is_made_once(storage: RetryingStorage, inner: Unreliable, study_id: int) -> None:
    inner.lost = 1
    first = storage.create_new_trial(study_id)
    waiting = create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"kernel": 5}})
    inner.lost = 1
    second = storage.create_new_trial(study_id, waiting)
    inner.lost = 3
    third = storage.create_new_trial(study_id)
    trials = inner.storage.get_all_trials(study_id)
    assert [trial._trial_id for trial in trials] == [first, second, third]
    assert [trial.state.name for trial in trials] == ["RUNNING", "WAITING", "RUNNING"]
    assert trials[1].system_attrs["fixed_params"] == {"kernel": 5}
    assert trials[0].datetime_start is not None


def test_a_trial_is_finished_once(
    storage: RetryingStorage, inner: Unreliable, study_id: int
) -> None:
    trial_id = storage.create_new_trial(study_id)
    inner.lost = 1
    assert storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.5])
    assert inner.storage.get_trial(trial_id).values == [0.5]
    # What somebody else finished, in another way, is still an error.
    inner.lost = 1
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.75])
    assert inner.storage.get_trial(trial_id).values == [0.5]


def test_a_waiting_trial_that_was_started_and_not_heard_of_is_left_to_whoever_has_it(
    storage: RetryingStorage, inner: Unreliable, study_id: int
) -> None:
    trial_id = storage.create_new_trial(study_id, create_trial(state=TrialState.WAITING))
    inner.lost = 1
    started = storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    assert started is not inner.afterwards
    assert inner.storage.get_trial(trial_id).state == TrialState.RUNNING


def test_a_whole_study_survives_a_connection_that_breaks_in_every_call(
    storage: RetryingStorage, inner: Unreliable
) -> None:
    inner.lost = 1
    study = optuna.create_study(
        storage=storage, study_name="study", direction="maximize", load_if_exists=True
    )
    for number in range(3):
        inner.lost = 1
        trial = study.ask()
        inner.lost = 1
        kernel = trial.suggest_categorical("kernel", (3, 5))
        inner.lost = 1
        trial.set_user_attr("kernel", kernel)
        inner.lost = 1
        trial.report(0.25, 1)
        inner.lost = 1
        study.tell(trial, float(number))
    inner.lost = 1
    trials = study.get_trials()
    assert [trial.values for trial in trials] == [[0.0], [1.0], [2.0]]
    assert all(trial.params == trial.user_attrs for trial in trials)
    assert all(trial.intermediate_values == {1: 0.25} for trial in trials)
    study_id = storage.get_study_id_from_name("study")
    inner.lost = 1
    storage.delete_study(study_id)
    assert storage.get_all_studies() == []


def test_it_says_once_an_outage_why_it_waits_and_asks_ever_less_often(
    inner: Unreliable, pauses: list[float]
) -> None:
    reasons: list[str] = []
    storage = RetryingStorage(inner, close=lambda: None, on_wait=reasons.append)
    inner.lost = 1
    storage.get_all_studies()
    assert (reasons, pauses) == ([], [])  # a server that was restarted in the meantime is there
    inner.lost = 9
    storage.get_all_studies()
    assert reasons == ["the cable is out; waiting for it"]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    inner.lost = 2
    storage.get_all_studies()
    assert reasons == ["the cable is out; waiting for it"] * 2


def test_after_so_long_it_gives_up_in_one_line_and_can_be_used_again(inner: Unreliable) -> None:
    storage = RetryingStorage(inner, close=lambda: None, patience_s=0.0)
    inner.lost = 1
    with pytest.raises(StorageError, match=r"^the cable is out, for 0 s by now; start it again, "):
        storage.get_all_studies()
    assert storage.get_all_studies() == []


def test_a_call_that_hung_for_long_is_made_again(
    inner: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0

    class Hanging(ForwardingStorage):
        def _call(self, method: Callable[..., R], *arguments: Any) -> R:
            nonlocal now_s
            now_s += 1000.0
            return inner._call(method, *arguments)

    monkeypatch.setattr(retrying.time, "monotonic", lambda: now_s)
    inner.lost = 1
    assert RetryingStorage(Hanging(), close=lambda: None).get_all_studies() == []
    assert now_s == 2000.0


@pytest.mark.parametrize("error", [StorageError("the disk is full"), KeyError("none")])
def test_other_errors_are_not_waited_for(error: Exception, pauses: list[float]) -> None:
    class Broken(ForwardingStorage):
        def _call(self, method: Callable[..., R], *arguments: Any) -> R:
            raise error

    with pytest.raises(type(error)):
        RetryingStorage(Broken(), close=lambda: None).get_all_studies()
    assert pauses == []
