"""Accuracy over latency: gains at equal latency, speed-ups at equal accuracy, intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its 95 % interval; without one (NaN) where there is a single value."""

    value: float
    low: float
    high: float

    def in_points(self) -> str:
        """Of accuracies in 0..1: ``+1.20 (+0.40 to +2.00)``."""
        value, low, high = (100 * each for each in (self.value, self.low, self.high))
        return f"{value:+.2f}" if math.isnan(low) else f"{value:+.2f} ({low:+.2f} to {high:+.2f})"


def mean_interval(values: Sequence[float]) -> Interval:
    """Student's interval of the mean; of differences from the same seeds, it is a paired one."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(value=mean, low=math.nan, high=math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = error * float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(value=mean, low=mean - reach, high=mean + reach)


class Bound(StrEnum):
    """Whether a speed-up is known, or only that it is no less or no more than a number."""

    EXACT = ""
    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """How many times as fast at equal accuracy."""

    value: float
    bound: Bound

    def __str__(self) -> str:
        return f"{self.bound}{self.value:.2f}×"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Networks of one method: latencies in milliseconds, rising, and accuracies in 0..1.

    Between two networks it is a line over the logarithm of latency.
    """

    latencies_ms: tuple[float, ...]
    accuracies: tuple[float, ...]

    @staticmethod
    def of(networks: Sequence[tuple[float, float]]) -> "Curve":
        """From (latency, accuracy) in any order."""
        latencies_ms, accuracies = zip(*sorted(networks), strict=True)
        return Curve(latencies_ms=latencies_ms, accuracies=accuracies)

    def accuracy_at(self, latency_ms: float) -> float:
        """Beyond its ends, that of the nearest network."""
        logarithms = np.log(self.latencies_ms)
        return float(np.interp(math.log(latency_ms), logarithms, self.accuracies))

    def speedup_of(self, latency_ms: float, accuracy: float) -> Speedup:
        """How many times as fast a network is as this curve where that is first as accurate."""
        if accuracy <= self.accuracies[0]:
            bound = Bound.EXACT if accuracy == self.accuracies[0] else Bound.AT_MOST
            return Speedup(value=self.latencies_ms[0] / latency_ms, bound=bound)
        for end in range(1, len(self.accuracies)):
            low, high = self.accuracies[end - 1 : end + 1]
            if low < accuracy <= high:
                begin_ms, end_ms = self.latencies_ms[end - 1 : end + 1]
                share = (accuracy - low) / (high - low)
                reached_ms = begin_ms * (end_ms / begin_ms) ** share
                return Speedup(value=reached_ms / latency_ms, bound=Bound.EXACT)
        return Speedup(value=self.latencies_ms[-1] / latency_ms, bound=Bound.AT_LEAST)
