"""Rewards: accuracy and latency against a target → one number. Pure functions."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]


class Reward(Protocol):
    """Scores networks; higher is better, and of equal latency the more accurate is no worse."""

    def __call__(
        self, accuracy: float | Floats, latency_ms: float | Floats, target_ms: float
    ) -> Floats:
        """The reward of each network; arrays are broadcast against each other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReward:
    """``accuracy × (latency / target)^w`` (MnasNet, section 3, equations 2 and 3).

    Attributes:
        alpha: w where the latency is within the target.
        beta: w where it is above. MnasNet: soft −0.07, −0.07; hard 0, −1. MobileNetV3-Small: −0.15.
    """

    alpha: float = -0.07
    beta: float = -0.07

    def __post_init__(self) -> None:
        for field, value in (("alpha", self.alpha), ("beta", self.beta)):
            _check_exponent("reward." + field, value)

    def __call__(
        self, accuracy: float | Floats, latency_ms: float | Floats, target_ms: float
    ) -> Floats:
        ratio = np.asarray(latency_ms) / target_ms
        return np.asarray(accuracy * ratio ** np.where(ratio <= 1, self.alpha, self.beta))


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteReward:
    """``accuracy + β·|latency / target − 1|`` (TuNAS, section 3.2); β is −0.10 in its code."""

    beta: float = -0.10

    def __post_init__(self) -> None:
        _check_exponent("reward.beta", self.beta)

    def __call__(
        self, accuracy: float | Floats, latency_ms: float | Floats, target_ms: float
    ) -> Floats:
        return np.asarray(accuracy + self.beta * np.abs(np.asarray(latency_ms) / target_ms - 1))


def _check_exponent(field: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -10 <= value <= 0:
        raise ValueError(
            f"{field} must be a number in -10..0 (a positive one would reward slow networks), "
            f"but got {value!r}"
        )
