"""The importance of choices: found where there is one, and the reason where there is none."""

import random

import pytest

from nas.report import importance
from nas.report.importance import choice_importances
from nas.study import Candidate
from search_spaces.spaces import SearchSpace


def candidates(space: SearchSpace, count: int, *, is_flat: bool = False) -> list[Candidate]:
    """Accuracy is all of the first stage's kernel, latency all of the second stage's width."""
    rng, found = random.Random(0), []
    for number in range(count):
        choices = {name: rng.choice(values) for name, values in space.choices.items()}
        found.append(
            Candidate(
                number=number,
                choices=choices,
                reward=0.0,
                accuracy=0.5 if is_flat else 0.1 * int(choices["first.kernel"]),
                latency_ms=float(choices["second.width"]),
                madds=1,
                params=1,
                peak_activation_bytes=1,
                network=str(number),
            )
        )
    return found


def test_what_decides_is_found(small_space: SearchSpace) -> None:
    found = choice_importances(candidates(small_space, 40), small_space)
    assert found.reason is None
    assert found.trials == 40
    assert {row.choice for row in found.rows} == set(small_space.choices)
    assert found.rows[0].choice == "first.kernel"
    assert found.rows[0].accuracy == pytest.approx(1.0, abs=0.02)
    latency = {row.choice: row.latency for row in found.rows}
    assert latency["second.width"] == pytest.approx(1.0, abs=0.02)
    for name in ("accuracy", "latency"):
        assert sum(getattr(row, name) for row in found.rows) == pytest.approx(1.0)


def test_it_is_the_same_each_time(small_space: SearchSpace) -> None:
    found = candidates(small_space, 20)
    assert choice_importances(found, small_space) == choice_importances(found, small_space)


def test_few_trials_say_nothing(small_space: SearchSpace) -> None:
    found = choice_importances(candidates(small_space, 9), small_space)
    assert found.rows == ()
    assert found.reason is not None
    assert "needs 10 finished trials; there are 9" in found.reason


def test_equal_accuracies_were_decided_by_nothing(small_space: SearchSpace) -> None:
    found = choice_importances(candidates(small_space, 20, is_flat=True), small_space)
    assert found.reason == "All accuracies are equal: no choice decided them."
    assert {row.accuracy for row in found.rows} == {None}
    assert found.rows[0].choice == "second.width"  # then latency orders them


def test_of_many_trials_some_are_taken_evenly(
    small_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importance, "MOST_TRIALS", 15)
    found = choice_importances(candidates(small_space, 400), small_space)
    assert found.trials == 15
    assert found.rows[0].choice == "first.kernel"
