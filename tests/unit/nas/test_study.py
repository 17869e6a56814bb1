"""A study's trials: which count, what they are as candidates, in which order they rank."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nas.reward import PowerReward
from nas.storage import open_storage
from nas.study import OVER_LIMIT, Candidate, candidates, is_counted, open_study, ranked

HARD = PowerReward(alpha=0, beta=-1)


def _result(**fields: Any) -> dict[str, Any]:
    return {
        "reward": 0.5, "accuracy": 0.5, "latency_ms": 1.0, "madds": 1, "params": 1,
        "peak_activation_bytes": 1, "network": "a", **fields,
    }  # fmt: skip


def _candidate(number: int, accuracy: float, latency_ms: float = 1.0) -> Candidate:
    fields = _result(reward=0.0, accuracy=accuracy, latency_ms=latency_ms)
    return Candidate(number=number, choices={}, **fields)


def test_what_meets_the_target_ranks_first_then_reward_then_age() -> None:
    found = [_candidate(0, 0.1), _candidate(1, 0.7), _candidate(2, 0.7), _candidate(3, 0.9, 2.1)]
    assert [c.number for c in ranked(found, 2.0, HARD)] == [1, 2, 0, 3]


def test_candidates_rank_by_the_target_that_is_asked_about() -> None:
    found = [_candidate(0, 0.9, 8.0), _candidate(1, 0.8, 4.0), _candidate(2, 0.7, 2.0)]
    for target_ms, order in ((9.0, [0, 1, 2]), (5.0, [1, 2, 0]), (3.0, [2, 1, 0])):
        assert [c.number for c in ranked(found, target_ms, HARD)] == order


def test_trials_count_that_were_evaluated_or_stopped_on_the_way() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "run")
    told = [study.ask() for _ in range(5)]
    study.tell(told[0], 0.5)
    study.tell(told[1], state=TrialState.PRUNED)
    told[2].set_user_attr(OVER_LIMIT, True)
    study.tell(told[2], state=TrialState.PRUNED)
    study.tell(told[3], state=TrialState.FAIL)
    assert [is_counted(trial) for trial in study.trials] == [True, True, False, False, False]


def test_candidates_are_the_evaluated_ones() -> None:
    study = open_study(optuna.storages.InMemoryStorage(), "run")
    first, second = study.ask(), study.ask()
    second.suggest_categorical("kernel", (3, 5))
    second.set_user_attr("result", _result(accuracy=0.75))
    study.tell(first, state=TrialState.FAIL)
    study.tell(second, 0.5)
    (found,) = candidates(study)
    assert (found.number, found.accuracy, found.choices) == (1, 0.75, second.params)


def test_a_study_of_other_objectives_is_refused() -> None:
    storage = optuna.storages.InMemoryStorage()
    open_study(storage, "run", pareto=True)
    assert open_study(storage, "run", pareto=True).directions[1].name == "MINIMIZE"
    with pytest.raises(ValueError, match="the study 'run' is there, and its sampler was of"):
        open_study(storage, "run")


@pytest.mark.parametrize("name", ["100% mine", "what?", "a#b", "a%20b", "größer"])
def test_the_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for trials in (1, 2):
        storage = open_storage(None, folder / "study.db")
        study = open_study(storage, "run")
        study.enqueue_trial({"first.kernel": 3}, skip_if_exists=False)
        assert len(study.trials) == trials
        storage.close()
    assert (folder / "study.db").exists()
