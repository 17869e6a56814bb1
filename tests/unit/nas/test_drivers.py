"""Processes that share a study, and what becomes of the trials of one that died."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nas import drivers
from nas.asking import ask
from nas.drivers import DRIVER, INTERRUPTED, SURPLUS, Driver, is_complete, wanted
from nas.storage import open_storage
from nas.study import QUEUED_FOR, candidates, distributions, open_study
from search_spaces.spaces import SearchSpace


def _die_in_mid_trial(search: Any, space: SearchSpace, driver: str) -> dict[str, Any]:
    """Ask for a trial as a driver does, and say no more."""
    return dict(ask(search.study, distributions(space), {DRIVER: driver}).params)


def _adopt_one(search: Any, space: SearchSpace, driver: str) -> None:
    trial = ask(search.study, distributions(space), {DRIVER: driver})
    assert search.loop.driver.adopt(trial, search.study.trials, 1)


def test_a_trial_whose_process_died_is_closed_and_run_again_with_its_choices(
    make_search: Any, small_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    dying = make_search(storage)
    dying.run(1)
    lost = _die_in_mid_trial(dying, small_space, "driver")
    again = make_search(storage, sampler=optuna.samplers.RandomSampler(seed=99))
    again.run(2)
    states = [trial.state for trial in again.study.trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    second = candidates(again.study)[1]
    assert (second.number, second.choices) == (2, lost)
    assert again.study.trials[2].user_attrs[QUEUED_FOR] == 1
    # Once is enough: the next process finds nothing left over.
    make_search(storage).run(2)
    assert len(again.study.trials) == 3


def test_a_queued_network_whose_process_died_at_once_is_run_again(
    make_search: Any, small_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    dying = make_search(storage)
    dying.study.enqueue_trial(small_space.base_choices, user_attrs={DRIVER: "driver"})
    dying.study.ask()
    again = make_search(storage)
    again.run(1)
    assert candidates(again.study)[0].choices == small_space.base_choices


def test_trials_of_another_driver_are_left_alone_while_it_lives(
    make_search: Any, small_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "BEAT_SECONDS", 0.0)
    storage = optuna.storages.InMemoryStorage()
    theirs, ours = make_search(storage, driver="a"), make_search(storage, patience_s=0.0)
    _adopt_one(theirs, small_space, "a")
    for _ in range(3):
        theirs.loop.driver.beat()
        ours.loop.driver.beat()
    assert theirs.study.trials[0].state == TrialState.RUNNING


def test_trials_of_a_driver_without_a_sign_of_life_are_taken_back(
    make_search: Any, small_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drivers, "BEAT_SECONDS", 0.0)
    storage = optuna.storages.InMemoryStorage()
    theirs, ours = make_search(storage, driver="a"), make_search(storage, patience_s=0.0)
    theirs.loop.driver.beat()
    lost = _die_in_mid_trial(theirs, small_space, "a")
    ours.loop.driver.beat()  # hears of it
    ours.loop.driver.beat()  # has heard nothing since
    first, second = ours.study.trials
    assert (first.state, second.state) == (TrialState.FAIL, TrialState.WAITING)
    assert first.user_attrs[INTERRUPTED]
    ours.run(1)
    assert candidates(ours.study)[0].choices == lost


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What drivers take for the time: ``clock.now``, in seconds."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    monkeypatch.setattr(drivers, "time", clock)
    return clock


def test_an_outage_is_no_silence_of_the_other_drivers(
    make_search: Any, small_space: SearchSpace, clock: SimpleNamespace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    theirs, ours = make_search(storage, driver="a"), make_search(storage)
    _adopt_one(theirs, small_space, "a")
    for now in (0.0, 15.0):
        clock.now = now
        theirs.loop.driver.beat()
        ours.loop.driver.beat()
    clock.now = 165.0  # nobody could say or hear anything, and ours is the first that can
    ours.loop.driver.beat()
    clock.now = 170.0
    theirs.loop.driver.beat()
    for now in range(176, 340, 11):
        clock.now = now
        ours.loop.driver.beat()
        theirs.loop.driver.beat()
    assert [trial.state for trial in ours.study.trials] == [TrialState.RUNNING]


def test_an_outage_in_the_middle_of_a_sign_of_life_is_no_silence(
    make_search: Any,
    small_space: SearchSpace,
    clock: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = optuna.storages.InMemoryStorage()
    theirs, ours = make_search(storage, driver="a"), make_search(storage)
    _adopt_one(theirs, small_space, "a")
    theirs.loop.driver.beat()
    ours.loop.driver.beat()
    get_trials = ours.study.get_trials

    def wait_for_the_database(**arguments: Any) -> Any:
        clock.now = 165.0
        return get_trials(**arguments)

    clock.now = 15.0
    with monkeypatch.context() as patch:
        patch.setattr(ours.study, "get_trials", wait_for_the_database)
        ours.loop.driver.beat()
    clock.now = 176.0
    ours.loop.driver.beat()
    assert [trial.state for trial in ours.study.trials] == [TrialState.RUNNING]


def test_who_stays_silent_after_an_outage_is_dead(
    make_search: Any, small_space: SearchSpace, clock: SimpleNamespace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    theirs, ours = make_search(storage, driver="a"), make_search(storage)
    theirs.loop.driver.beat()
    _die_in_mid_trial(theirs, small_space, "a")
    states = []
    for now in (0, 15, *range(165, 325, 20)):
        clock.now = float(now)
        ours.loop.driver.beat()
        states.append(ours.study.get_trials()[0].state)
    # More than 120 seconds after the outage, and not before.
    assert states == [TrialState.RUNNING] * 9 + [TrialState.FAIL]


def test_of_two_that_ask_for_the_last_trial_one_is_sent_away(
    make_search: Any, small_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    study = make_search(storage).study
    first, second = (Driver(study, name) for name in "ab")
    trials = [ask(study, distributions(small_space), {DRIVER: name}) for name in "ab"]
    assert first.adopt(trials[0], study.trials, 1)
    assert not second.adopt(trials[1], study.trials, 1)
    assert study.trials[1].state == TrialState.FAIL
    assert study.trials[1].user_attrs[SURPLUS]
    assert wanted(study.trials, 1) == 0
    assert not is_complete(study.trials, 1)


def test_a_network_that_two_drivers_queued_again_is_run_once(
    make_search: Any, small_space: SearchSpace
) -> None:
    search = make_search()
    for _ in range(2):
        search.study.enqueue_trial(small_space.base_choices, user_attrs={QUEUED_FOR: 0})
    search.run(3)
    again = [trial for trial in search.study.trials if trial.user_attrs.get(QUEUED_FOR) == 0]
    assert [trial.state for trial in again] == [TrialState.COMPLETE, TrialState.FAIL]
    assert len(candidates(search.study)) == 3


def test_several_drivers_finish_each_trial_once(make_search: Any, tmp_path: Path) -> None:
    path, trials = tmp_path / "study.db", 40
    searches = [
        make_search(
            open_storage(None, path),
            driver=name,
            workers=2,
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )
        for seed, name in enumerate("abc")
    ]
    threads = [threading.Thread(target=search.run, args=(trials,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    study = open_study(open_storage(None, path), "run")
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == trials
    assert len({trial.number for trial in complete}) == trials
    others = {trial.state for trial in study.trials} - {TrialState.COMPLETE}
    assert others <= {TrialState.FAIL}
    assert sum(len(search.recorder.candidates) for search in searches) == trials
