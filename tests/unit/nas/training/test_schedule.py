"""The learning rate against the formulas of the papers."""

import math
from typing import Any

import pytest

from nas.training import TrainSettings
from nas.training.schedule import Schedule


def _schedule(total: int, steps_an_epoch: int = 10, **settings: Any) -> Schedule:
    return Schedule.of(TrainSettings(epochs=400, **settings), total, steps_an_epoch)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # 100 steps, 20 of them warm-up: 1/21, 2/21, … then half a cosine over the other 80.
        (0, 1 / 21),
        (1, 2 / 21),
        (19, 20 / 21),
        (20, 1.0),
        (40, 0.5 * (1 + math.sqrt(0.5))),
        (60, 0.5),
        (80, 0.5 * (1 - math.sqrt(0.5))),
        (100, 0.0),
    ],
)
def test_the_rate_rises_linearly_and_falls_by_half_a_cosine(step: int, expected: float) -> None:
    assert _schedule(100, warmup=0.2).factor(step) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "total", "warmup", "expected"),
    [
        (0, 10, 0.0, 1.0),
        (5, 10, 0.0, 0.5),
        (0, 1, 0.0, 1.0),
        (0, 1, 0.2, 1 / 1.2),
        (9, 10, 1.0, 10 / 11),
    ],
)
def test_the_rate_without_warm_up_or_with_nothing_else(
    step: int, total: int, warmup: float, expected: float
) -> None:
    assert _schedule(total, warmup=warmup).factor(step) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        # MnasNet: five epochs up, then 0.97 times after every 2.4 epochs, all at once.
        (2.5, 0.5),
        (5.0, 1.0),
        (5.0 + 2.3, 1.0),
        (5.0 + 2.5, 0.97),
        (5.0 + 4.7, 0.97),
        (5.0 + 4.9, 0.97**2),
        (5.0 + 240.1, 0.97**100),
    ],
)
def test_mnasnets_rate(epoch: float, expected: float) -> None:
    steps_an_epoch = 1000
    schedule = _schedule(
        350 * steps_an_epoch, steps_an_epoch, schedule="step_exponential", warmup_epochs=5.0
    )
    assert schedule.factor(round(epoch * steps_an_epoch)) == pytest.approx(expected, rel=1e-3)


def test_mobilenet_v3s_rate_without_warm_up() -> None:
    schedule = _schedule(
        5000, 10, schedule="step_exponential", warmup=0.0, decay_rate=0.99, decay_epochs=3.0
    )
    steps = [0, 29, 30, 59, 60, 300]
    expected = [1, 1, 0.99, 0.99, 0.99**2, 0.99**10]
    assert [schedule.factor(step) for step in steps] == pytest.approx(expected)


def test_warm_up_in_epochs_comes_before_the_share() -> None:
    schedule = _schedule(100, 10, warmup=0.9, warmup_epochs=1.0)
    assert schedule.factor(9) == pytest.approx(10 / 11)
    assert schedule.factor(10) == 1.0


def test_warm_up_never_lasts_longer_than_a_training_that_is_counted_in_steps() -> None:
    assert _schedule(5, 10, warmup_epochs=2.0).factor(4) == pytest.approx(5 / 6)
