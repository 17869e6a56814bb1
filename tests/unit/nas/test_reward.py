"""Rewards: values worked out by hand from MnasNet's and TuNAS's formulas."""

from typing import Any

import pytest

from nas.reward import AbsoluteReward, PowerReward

SOFT = PowerReward(alpha=-0.07, beta=-0.07)
HARD = PowerReward(alpha=0, beta=-1)
SMALL = PowerReward(alpha=-0.15, beta=-0.15)
ABSOLUTE = AbsoluteReward(beta=-0.10)


@pytest.mark.parametrize(
    ("reward", "accuracy", "latency_ms", "expected"),
    [
        # 2^-0.07 = 0.952638: twice the latency is worth 5 % of accuracy (MnasNet, section 3).
        (SOFT, 0.75, 160.0, 0.75 * 0.952638),
        (SOFT, 0.75, 40.0, 0.75 * 1.049717),
        (SOFT, 0.75, 80.0, 0.75),
        (HARD, 0.75, 79.99, 0.75),
        (HARD, 0.75, 80.08, 0.75 / 1.001),
        (HARD, 0.75, 1.0, 0.75),
        (HARD, 0.75, 80.0, 0.75),
        (HARD, 0.75, 160.0, 0.375),
        (HARD, 0.75, 100.0, 0.6),
        (SMALL, 0.6, 160.0, 0.6 * 0.901250),
        (ABSOLUTE, 0.75, 80.0, 0.75),
        (ABSOLUTE, 0.75, 120.0, 0.70),
        (ABSOLUTE, 0.75, 40.0, 0.70),
        (ABSOLUTE, 0.05, 160.0, -0.05),
        (SOFT, 0.0, 160.0, 0.0),
    ],
)
def test_values(reward: Any, accuracy: float, latency_ms: float, expected: float) -> None:
    assert reward(accuracy, latency_ms, 80.0) == pytest.approx(expected, abs=1e-6)


def test_what_stands_in_no_configuration_is_mnasnets_soft_constraint_and_tunas() -> None:
    assert PowerReward() == SOFT
    assert AbsoluteReward() == ABSOLUTE


@pytest.mark.parametrize("value", [0.07, 1e-9, float("nan"), -101, "-0.07", True, None])
@pytest.mark.parametrize(
    ("reward", "field"),
    [(PowerReward, "alpha"), (PowerReward, "beta"), (AbsoluteReward, "beta")],
)
def test_what_would_reward_slow_networks_is_refused(reward: Any, field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^reward\.{field} must be a number in -10\.\.0") as e:
        reward(**{field: value})
    assert str(e.value).endswith(f"but got {value!r}")
