"""The search loop: what is evaluated in which order, what is recorded, what is refused."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas import loop
from nas.asking import ask
from nas.drivers import INTERRUPTED, Driver
from nas.evaluators import Evaluation
from nas.limits import Limits
from nas.study import QUEUED_FOR, candidates
from nas.training.meter import DivergenceError
from search_spaces.spaces import Choice, SearchSpace

BASE: dict[str, Choice] = {
    "first.kernel": 3, "first.width": 8, "first.skip": False,
    "second.kernel": 3, "second.width": 8, "second.skip": False,
}  # fmt: skip


def test_the_base_network_is_first_and_its_figures_are_recorded(
    make_search: Any, small_space: SearchSpace
) -> None:
    search = make_search()
    search.run(1)
    (found,) = candidates(search.study)
    assert (found.number, found.choices) == (0, BASE)
    # 0.5 + 1 + 2 + 2 + 0.5 ms, exactly the target.
    assert (found.latency_ms, found.accuracy, found.reward) == (6.0, 0.5, 0.5)
    # Two norms' worth of stem, (8→16→8 of kernel 3) twice, and 10 classes of 8 channels.
    block = 8 * 16 + 2 * 16 + 16 * 9 + 2 * 16 + 16 * 8 + 2 * 8
    assert found.params == 3 * 9 * 8 + 2 * 8 + 2 * block + 8 * 10 + 10
    assert search.evaluator.seen[0].blocks == small_space.build(BASE).blocks
    assert search.recorder.latencies == {0: 6.0}
    assert search.recorder.steps == [(0, 1, 1)]
    assert search.recorder.candidates == [found]


def test_rewards_follow_accuracy_and_latency_of_the_network(make_search: Any) -> None:
    search = make_search()
    slower = BASE | {"first.kernel": 5, "second.kernel": 5}
    search.study.enqueue_trial(slower)
    search.run(1)
    (found,) = candidates(search.study)
    assert found.choices == slower
    assert found.latency_ms == 10.0
    assert found.accuracy == pytest.approx(0.7)
    assert found.reward == pytest.approx(0.7 * 6 / 10)


def test_of_several_targets_the_mean_reward_is_maximised(make_search: Any) -> None:
    search = make_search(targets_ms=(6.0, 12.0))
    search.study.enqueue_trial(BASE | {"first.kernel": 5, "second.kernel": 5})
    search.run(1)
    (found,) = candidates(search.study)
    assert found.reward == pytest.approx((0.7 * 6 / 10 + 0.7) / 2)


def test_equal_networks_are_trained_once(make_search: Any) -> None:
    search = make_search()
    # Where the width changes there is no skip to choose.
    wider = BASE | {"first.width": 16, "second.width": 8}
    for skip in (False, True):
        search.study.enqueue_trial(wider | {"first.skip": skip})
    search.run(2)
    first, second = candidates(search.study)
    assert (first.choices["first.skip"], second.choices["first.skip"]) == (False, True)
    assert len(search.evaluator.seen) == 1
    assert first.network == second.network
    assert (first.accuracy, first.reward) == (second.accuracy, second.reward)


@pytest.mark.parametrize("workers", [1, 3])
def test_enough_trials_are_finished_and_not_more(make_search: Any, workers: int) -> None:
    storage = optuna.storages.InMemoryStorage()
    make_search(storage, workers=workers).run(7)
    again = make_search(storage, workers=workers)
    again.run(5)
    assert len(candidates(again.study)) == 7
    assert again.evaluator.seen == []
    assert all(trial.state == TrialState.COMPLETE for trial in again.study.trials)


def test_networks_that_cannot_be_trained_are_reported_and_replaced(
    make_search: Any, kernel_evaluator: Any
) -> None:
    fails = (0, 1, 2, 3, 5, 6, 7, 8)
    search = make_search(evaluator=kernel_evaluator(fails))
    search.run(2)
    assert search.recorder.failures == dict.fromkeys(fails, "the loss is nan at step 3 of 9")
    assert [candidate.number for candidate in candidates(search.study)] == [4, 9]
    assert search.study.trials[0].user_attrs["reason"] == "the loss is nan at step 3 of 9"


def test_five_failures_in_a_row_stop_the_search(make_search: Any, kernel_evaluator: Any) -> None:
    search = make_search(evaluator=kernel_evaluator(range(100)))
    with pytest.raises(ValueError, match=r"^5 networks in a row .* evaluator\.settings\.learning"):
        search.run(10)
    assert sorted(search.recorder.failures) == [0, 1, 2, 3, 4]
    assert candidates(search.study) == []


def test_limits_hold_before_training_and_samplers_learn_of_them(make_search: Any) -> None:
    search = make_search(limits=Limits(max_latency="8ms", max_params="1.5k"))
    search.run(6)
    found = candidates(search.study)
    assert len(found) == 6
    assert all(c.latency_ms <= 8 and c.params <= 1500 for c in found)
    refused = [trial for trial in search.study.trials if trial.state == TrialState.PRUNED]
    assert refused, "a random sampler proposes some that are over a limit"
    for trial in refused:
        assert max(trial.constraints.values()) > 0
        assert set(trial.constraints) == {"latency_ms", "params"}
    assert len(search.evaluator.seen) <= 6


def test_a_sampler_that_only_proposes_what_is_over_a_limit_does_not_stop_the_search(
    make_search: Any,
) -> None:
    slow = BASE | {"first.kernel": 5, "second.kernel": 5}
    sampler = optuna.samplers.PartialFixedSampler(slow, optuna.samplers.RandomSampler(seed=0))
    search = make_search(sampler=sampler, limits=Limits(max_latency="8ms"))
    search.run(3)
    assert len(candidates(search.study)) == 3
    assert all(c.latency_ms <= 8 for c in candidates(search.study))


def test_only_members_are_evaluated(make_search: Any, small_space: SearchSpace) -> None:
    members = np.array(
        [small_space.choice_indices(BASE | {"first.kernel": k}) for k in (3, 5)], dtype=np.uint8
    )
    search = make_search(members=members)
    search.run(4)
    assert {c.choices["first.kernel"] for c in candidates(search.study)} <= {3, 5}
    assert {c.choices["second.kernel"] for c in candidates(search.study)} == {3}


def test_hopeless_networks_are_stopped_by_reward(make_search: Any, kernel_evaluator: Any) -> None:
    search = make_search(evaluator=kernel_evaluator(epochs=3), prunes=True)
    search.study.pruner = optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0)
    # All of one accuracy by epoch, but the last takes ten times as long as allowed.
    fast = BASE | {"second.width": 16}
    slow = BASE | {"first.kernel": 5, "second.kernel": 5}
    for choices in (fast, BASE, slow):
        search.study.enqueue_trial(choices)
    search.run(3)
    assert [trial.state.name for trial in search.study.trials] == ["COMPLETE", "COMPLETE", "PRUNED"]
    assert search.recorder.epochs == {2: 1}
    last = search.study.trials[2]
    assert last.intermediate_values == {1: pytest.approx(0.7 / 3 * 6 / 10)}


def test_an_evaluator_with_a_fault_ends_the_search_with_its_name(make_search: Any) -> None:
    class Faulty:
        def evaluate(self, *_: Any) -> Any:
            raise KeyError("nowhere")

    search = make_search(evaluator=Faulty())
    with pytest.raises(RuntimeError, match="the evaluator failed on trial 0: KeyError: 'nowhere'"):
        search.run(1)


class LosesItsFirst:
    """Another process takes the first trial back, while its network is evaluated."""

    def __init__(self, error: Exception | None = None) -> None:
        self.search: Any = None
        self.calls = 0
        self.went_on = 0
        self._error = error

    def evaluate(self, architecture: Any, choices: Any, monitor: Any) -> Any:
        self.calls += 1
        if self.calls == 1:
            take_back_all(self.search.study)
            if self._error is not None:
                raise self._error
        if monitor.wants_accuracy:
            monitor.accuracy(1, 0.25)
        self.went_on += 1
        return Evaluation(accuracy=0.5)


def take_back_all(study: optuna.Study) -> None:
    """As a driver of the same name does, at once."""
    Driver(study, "driver").beat()


@pytest.mark.parametrize(
    ("error", "prunes"), [(None, False), (None, True), (DivergenceError("the loss is nan"), False)]
)
def test_a_trial_that_was_taken_back_is_dropped_and_the_search_goes_on(
    make_search: Any, error: Exception | None, prunes: bool
) -> None:
    evaluator = LosesItsFirst(error)
    search = evaluator.search = make_search(evaluator=evaluator, prunes=prunes)
    search.run(2)
    lost, again, other = search.study.trials
    assert (lost.state, lost.params) == (TrialState.FAIL, BASE)
    assert lost.user_attrs[INTERRUPTED]
    assert not {"result", "reason"} & lost.user_attrs.keys()
    assert (again.params, again.user_attrs[QUEUED_FOR]) == (BASE, 0)
    assert search.recorder.failures == {
        0: "another process took this one for dead, and runs its network again"
    }
    assert [c.number for c in candidates(search.study)] == [again.number, other.number]
    assert search.recorder.epochs == {}
    # Where it asks, its training ends; where it does not, only its result is dropped.
    assert evaluator.went_on == (3 if error is None and not prunes else 2)


def test_trials_that_are_taken_back_are_no_failures_of_the_evaluator(make_search: Any) -> None:
    class LosesSix:
        calls = 0

        def evaluate(self, *_: Any) -> Any:
            self.calls += 1
            if self.calls <= 6:
                take_back_all(search.study)
                raise DivergenceError("the loss is nan")
            return Evaluation(accuracy=0.5)

    search = make_search(evaluator=LosesSix())
    search.run(1)
    assert sorted(search.recorder.failures) == [0, 1, 2, 3, 4, 5]
    assert [c.number for c in candidates(search.study)] == [6]


def test_a_trial_that_is_taken_back_before_it_begins_is_asked_for_again(
    make_search: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = make_search(limits=Limits(max_latency="8ms"))
    search.study.enqueue_trial(BASE | {"first.kernel": 5, "second.kernel": 5})
    asked = []

    def ask_and_lose(*arguments: Any) -> Any:
        asked.append(ask(*arguments))
        if len(asked) == 1:
            take_back_all(search.study)
        return asked[-1]

    monkeypatch.setattr(loop, "ask", ask_and_lose)
    search.run(2)
    assert [trial.state for trial in search.study.trials[:2]] == [
        TrialState.FAIL, TrialState.PRUNED
    ]  # fmt: skip
    assert len(candidates(search.study)) == 2
