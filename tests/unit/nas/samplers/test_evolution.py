"""Regularised evolution: who can be a parent, and how a child differs from it."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from nas.problem import Problem
from nas.samplers import EvolutionSampler

FAR = [2, 2, 2, 2, 2, 2]


def _distances(row: Any, rows: Any) -> Any:
    return (np.array(rows) != row).sum(axis=1)


def _apart(count: int) -> list[list[int]]:
    """Networks of which each two differ in three choices or more."""
    rows: list[list[int]] = []
    for row in np.ndindex(3, 3, 3, 3, 3, 3):
        if not rows or _distances(row, rows).min() > 2:
            rows.append(list(row))
    return rows[:count]


def test_the_first_networks_are_drawn_evenly(problem: Problem, make_history: Any) -> None:
    rows = [[0] * 6]
    drawn = np.array(
        [
            EvolutionSampler(problem=problem, seed=seed, initial=3).propose(
                make_history(rows, [1.0], others=[FAR])
            )
            for seed in range(300)
        ]
    )
    shares = [np.bincount(drawn[:, choice], minlength=3) / 300 for choice in range(6)]
    assert np.abs(np.array(shares) - 1 / 3).max() < 0.12  # 4 standard deviations


def test_networks_that_run_or_have_failed_count_among_the_first(
    problem: Problem, make_history: Any
) -> None:
    rows, others = [[0] * 6], [FAR, [1] * 6]
    for seed in range(30):
        sampler = EvolutionSampler(problem=problem, seed=seed, initial=3)
        assert _distances(sampler.propose(make_history(rows, [1.0], others)), rows)[0] == 1


def test_a_child_differs_from_a_parent_of_the_window_in_one_choice(
    problem: Problem, make_history: Any
) -> None:
    rows = _apart(12)
    history = make_history(rows, np.linspace(1, 0, 12))
    parents = set()
    for seed in range(60):
        sampler = EvolutionSampler(problem=problem, seed=seed, population=5, tournament=1)
        distances = _distances(sampler.propose(history), rows)
        assert sorted(distances)[0] == 1
        parents.add(int(distances.argmin()))
    # Every network of the window, and none that is older.
    assert parents == {7, 8, 9, 10, 11}


def test_the_best_is_forgotten_when_it_is_old(problem: Problem, make_history: Any) -> None:
    rows = _apart(9)
    rewards = [0.9, *np.linspace(0.1, 0.5, 8)]
    sampler = EvolutionSampler(problem=problem, seed=0, population=9, tournament=1000)
    assert _distances(sampler.propose(make_history(rows, rewards)), rows).argmin() == 0
    sampler = EvolutionSampler(problem=problem, seed=0, population=8, tournament=1000)
    assert _distances(sampler.propose(make_history(rows, rewards)), rows).argmin() == 8


def test_the_best_of_a_tournament_wins_as_often_as_it_is_drawn(
    problem: Problem, make_history: Any
) -> None:
    rows = _apart(8)
    history = make_history(rows, [0.1, 0.8, 0.3, 0.2, 0.7, 0.6, 0.5, 0.4])
    sampler = EvolutionSampler(problem=problem, seed=0, population=8, tournament=3)
    wins = Counter(int(_distances(sampler.propose(history), rows).argmin()) for _ in range(2000))
    # Drawn with replacement, the k-th best of 8 wins where none better is drawn, and it is.
    ranking = [1, 4, 5, 6, 7, 2, 3, 0]
    for rank, row in enumerate(ranking):
        chance = ((8 - rank) / 8) ** 3 - ((7 - rank) / 8) ** 3
        assert wins[row] / 2000 == pytest.approx(chance, abs=0.045), rank


def test_every_other_value_of_every_choice_is_as_likely(
    problem: Problem, make_history: Any
) -> None:
    sampler = EvolutionSampler(problem=problem, seed=0, initial=1)
    history = make_history([[1] * 6], [1.0])
    children = Counter(tuple(sampler.propose(history).tolist()) for _ in range(2400))
    assert len(children) == 12
    assert all(abs(count - 200) < 60 for count in children.values())


def test_a_child_that_was_proposed_before_is_changed_further(
    problem: Problem, make_history: Any, everything: Any
) -> None:
    parent = np.ones(6, dtype=np.uint8)
    near = everything[_distances(parent, everything) <= 1]
    others = near[(near != parent).any(axis=1)]
    for seed in range(10):
        sampler = EvolutionSampler(problem=problem, seed=seed)
        child = sampler.propose(make_history([parent], [1.0], others))
        assert _distances(child, [parent])[0] == 2


def test_among_networks_with_results_a_child_is_one_of_the_nearest(
    make_problem: Any, make_history: Any
) -> None:
    members = np.array(
        [[0] * 6, FAR, [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]],
        dtype=np.uint8,
    )
    problem = make_problem(members=members)
    children = {
        tuple(
            EvolutionSampler(problem=problem, seed=seed, initial=1)
            .propose(make_history([[0] * 6], [1.0]))
            .tolist()
        )
        for seed in range(20)
    }
    assert children == {(0, 0, 0, 1, 1, 1), (1, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"initial": 0}, r"^sampler\.initial must be an integer in 1\.\.100000, but got 0$"),
        ({"population": 0}, r"^sampler\.population must be an integer in 1\.\."),
        ({"population": "many"}, r"^sampler\.population must be .* but got 'many'$"),
        ({"tournament": 2.5}, r"^sampler\.tournament must be an integer .* but got 2\.5$"),
        ({"tournament": True}, r"^sampler\.tournament must be an integer .* but got True$"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(
    problem: Problem, setting: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        EvolutionSampler(problem=problem, seed=0, **setting)
