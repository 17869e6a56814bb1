"""What evolution, PPO and NSGA-II do through an Optuna study, with the settings of conf/."""

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from nas.limits import Limits
from nas.problem import Problem

OURS = ("evolution", "ppo")


@pytest.fixture(params=[*OURS, "nsga2"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def begin(make_search: Any, problem: Problem, name: str) -> Any:
    """``begin(ends=…)``: a search that has not begun."""
    return lambda **others: make_search(problem, pareto=name == "nsga2", **others)


def test_two_hundred_networks_eight_at_a_time(
    begin: Any, sampler_of: Any, problem: Problem, everything: Any, name: str
) -> None:
    search = begin()
    rows = search.run(sampler_of(name, problem, seed=0), 200, pending=8)
    assert {trial.state for trial in search.study.trials} == {TrialState.COMPLETE}
    assert rows[0].tolist() == [0] * 6
    assert rows.min(axis=0).tolist() == [0] * 6
    assert rows.max(axis=0).tolist() == [2] * 6
    if name in OURS:
        assert len(np.unique(rows, axis=0)) == 200
        assert search.rewards().mean() > np.quantile(search.rewards_of(everything), 0.6)


@pytest.mark.parametrize("pending", [1, 4])
def test_a_search_that_goes_on_with_a_new_sampler(
    begin: Any, sampler_of: Any, problem: Problem, name: str, pending: int
) -> None:
    search = begin()
    before = search.run(sampler_of(name, problem, seed=0), 30, pending)
    rows = search.run(sampler_of(name, problem, seed=30), 60, pending)
    assert np.array_equal(rows[:30], before)
    assert not np.array_equal(rows[30:], before[1:])
    if name in OURS:
        assert len(np.unique(rows, axis=0)) == 60


def test_the_seed_decides_what_is_proposed(
    begin: Any, sampler_of: Any, problem: Problem, name: str
) -> None:
    first, second, other = (
        begin().run(sampler_of(name, problem, seed, run_seed=seed), 50) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_networks_that_failed_or_were_stopped_are_left_behind(
    begin: Any, sampler_of: Any, problem: Problem, name: str
) -> None:
    ends = {n: TrialState.FAIL if n % 2 else TrialState.PRUNED for n in range(0, 90, 5)}
    search = begin(ends=ends)
    rows = search.run(sampler_of(name, problem, seed=0), 90, pending=3)
    states = [trial.state for trial in search.study.trials]
    assert states.count(TrialState.COMPLETE) == 72
    if name in OURS:
        assert len(np.unique(rows, axis=0)) == 90


def test_a_search_of_which_nothing_finished_goes_on(
    begin: Any, sampler_of: Any, problem: Problem, name: str
) -> None:
    search = begin(ends=dict.fromkeys(range(40), TrialState.FAIL))
    search.run(sampler_of(name, problem, seed=0), 40)
    assert len(search.run(sampler_of(name, problem, seed=1), 80)) == 80


@pytest.mark.parametrize("name", [*OURS, "lookup_aware"])
def test_trials_of_all_brackets_of_hyperband_are_known(
    make_search: Any, sampler_of: Any, problem: Problem, name: str
) -> None:
    """To pruners that end nothing: what is proposed is the same."""
    proposed = []
    for pruner in (optuna.pruners.NopPruner(), optuna.pruners.HyperbandPruner(max_resource=9)):
        search = make_search(problem, pareto=False)
        search.study.pruner = pruner
        base = search.study.ask(search.distributions)
        base.report(0.5, 1)
        assert not base.should_prune()  # Hyperband has its brackets now
        search.tell(base)
        proposed.append(search.run(sampler_of(name, problem, seed=0), 70, pending=3))
    assert len(np.unique(proposed[0], axis=0)) == 70
    assert np.array_equal(*proposed)


@pytest.mark.parametrize("name", OURS)
class TestOfOurs:
    def test_limits_are_kept(
        self, make_search: Any, make_problem: Any, sampler_of: Any, small_limits: Limits, name: str
    ) -> None:
        problem = make_problem(limits=small_limits)
        rows = make_search(problem, pareto=False).run(sampler_of(name, problem, seed=0), 100, 4)
        assert problem.allowed(rows).all()
        assert len(np.unique(rows, axis=0)) == 100

    def test_only_networks_with_results_are_proposed(
        self, make_search: Any, make_problem: Any, sampler_of: Any, everything: Any, name: str
    ) -> None:
        # A tenth of all, so that most have no neighbour.
        members = np.concatenate(
            [everything[:1], everything[1:][np.random.default_rng(0).random(728) < 0.1]]
        )
        problem = make_problem(members=members)
        search = make_search(problem, pareto=False)
        rows = search.run(sampler_of(name, problem, seed=0), 50, 2)
        assert problem.allowed(rows).all()
        assert len(np.unique(rows, axis=0)) == 50

    def test_a_space_may_be_smaller_than_the_search(
        self, make_search: Any, make_problem: Any, sampler_of: Any, small_space: Any, name: str
    ) -> None:
        problem = make_problem(small_space)  # 64 networks
        search = make_search(problem, pareto=False)
        rows = search.run(sampler_of(name, problem, seed=0), 80, 3)
        assert len(np.unique(rows[:64], axis=0)) >= 60
        assert len(np.unique(rows, axis=0)) == 64

    def test_a_choice_of_one_value_keeps_it(
        self, make_search: Any, make_problem: Any, sampler_of: Any, wider_space: Any, name: str
    ) -> None:
        problem = make_problem(wider_space)
        rows = make_search(problem, pareto=False).run(sampler_of(name, problem, seed=0), 70)
        assert rows[:, [2, 5]].max() == 0
        assert len(np.unique(rows, axis=0)) == 70


def test_a_base_network_that_was_queued_is_a_parent_of_nsga2_once_its_sampler_was_asked(
    problem: Problem, sampler_of: Any
) -> None:
    """Optuna asks a sampler when a choice is open: here none is, and there is no generation."""
    choices = problem.space.choices
    for asked, generation in ((False, None), (True, 0)):
        study = optuna.create_study(directions=["maximize", "minimize"])
        study.sampler = sampler_of("nsga2", problem, seed=0)
        study.enqueue_trial(problem.space.base_choices)
        trial = study.ask()
        if asked:
            assert trial.relative_params == {}
        for choice, values in choices.items():
            trial.suggest_categorical(choice, values)
        told = study.tell(trial, [0.5, 1.0])
        assert told.system_attrs.get("NSGAIISampler:generation") == generation
