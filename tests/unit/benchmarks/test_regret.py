"""Regrets, worked out by hand."""

import numpy as np
import pytest

from benchmarks.regret import compare, comparisons, mean_regret, trials_to_reach


def test_a_mean_is_in_points_and_within_its_interval() -> None:
    curves = np.array([[0.05, 0.01], [0.07, 0.03]])
    figure = mean_regret(curves, 2)
    assert figure.mean == pytest.approx(2.0)
    assert (figure.low, figure.high) == (pytest.approx(1.0), pytest.approx(3.0))


def test_trials_needed_are_counted_against_the_best_other() -> None:
    ours = np.array([[0.4, 0.1, 0.0, 0.0]] * 3)
    others = {
        "slow": np.array([[0.4, 0.4, 0.3, 0.3]] * 3),
        "best": np.array([[0.4, 0.3, 0.2, 0.1]] * 3),
    }
    found = compare(ours, others, 4)
    assert (found.rival, found.needed, found.share) == ("best", 2, 0.5)
    assert (found.ours, found.theirs) == (pytest.approx(0.0), pytest.approx(10.0))
    assert not found.is_worse


def test_what_is_never_reached_is_infinite_and_worse() -> None:
    ours = np.array([[0.5, 0.4]] * 5)
    found = compare(ours, {"best": np.array([[0.1, 0.0]] * 5)}, 2)
    assert (found.needed, found.share, found.is_worse) == (None, float("inf"), True)


def test_a_difference_within_chance_is_not_worse() -> None:
    rng = np.random.default_rng(0)
    curves = rng.uniform(size=(2, 20, 1))
    assert not compare(curves[0], {"other": curves[0] + rng.normal(0, 0.1, (20, 1))}, 1).is_worse


def test_settings_are_compared_each_by_itself() -> None:
    found = {
        ("p", "hard", target, sampler): np.full((2, 30), regret)
        for target, sampler, regret in (
            (0, "lookup_aware", 0.1), (0, "tpe", 0.2), (1, "lookup_aware", 0.3), (1, "tpe", 0.2),
        )
    }  # fmt: skip
    compared = comparisons(found, after=(25,))
    assert [compared["p", "hard", target][0].needed for target in (0, 1)] == [1, None]


def test_over_settings_regrets_are_averaged_before_they_are_compared() -> None:
    found = {
        ("p", "soft", 0, "lookup_aware"): np.array([[0.4, 0.2, 0.0, 0.0]]),
        ("q", "soft", 0, "lookup_aware"): np.array([[0.4, 0.2, 0.2, 0.0]]),
        ("p", "soft", 0, "tpe"): np.array([[0.4, 0.4, 0.4, 0.1]]),
        ("q", "soft", 0, "tpe"): np.array([[0.4, 0.4, 0.4, 0.1]]),
        ("q", "hard", 0, "tpe"): np.zeros((1, 4)),
    }
    assert trials_to_reach(found, "soft", 4) == (0.75, 3)
