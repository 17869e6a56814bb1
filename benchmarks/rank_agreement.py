"""How well ways to score networks agree on which is better: Kendall's τ, and how sure it is."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

Floats = NDArray[np.float64]

RESAMPLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracies:
    """Of the same networks.

    Attributes:
        alone: (seeds, networks): trained alone.
        supernet: (networks,): with their part of its weights.
        madds: (networks,): to compare with what needs no training at all.
    """

    alone: Floats
    supernet: Floats
    madds: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and its 95 % interval over the networks, bootstrapped."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Kendall's τ of pairs of ways to rank the networks.

    Attributes:
        supernet_mean: the supernet and the mean of the trainings alone.
        supernet_one: the supernet and one of those trainings; mean over them.
        alone_one: two trainings that differ in nothing but the random seed; mean over pairs.
        madds_mean: multiply-adds and the mean of the trainings alone.
    """

    supernet_mean: Interval
    supernet_one: Interval
    alone_one: Interval
    madds_mean: Interval


def rank(found: Accuracies) -> Ranking:
    """All of them, with intervals from the same resampled networks."""
    pairs = list(combinations(found.alone, 2))
    mean = found.alone.mean(axis=0)
    return Ranking(
        supernet_mean=_interval([(found.supernet, mean)]),
        supernet_one=_interval([(found.supernet, alone) for alone in found.alone]),
        alone_one=_interval(pairs),
        madds_mean=_interval([(found.madds, mean)]),
    )


def _interval(pairs: Sequence[tuple[Floats, Floats]]) -> Interval:
    """The mean τ over pairs."""
    rng = np.random.default_rng(0)
    networks = len(pairs[0][0])

    def mean_tau(chosen: NDArray[np.intp]) -> float:
        return statistics.mean(float(kendalltau(a[chosen], b[chosen])[0]) for a, b in pairs)

    value = mean_tau(np.arange(networks))
    resampled = [mean_tau(rng.integers(networks, size=networks)) for _ in range(RESAMPLES)]
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


def noise(alone: Floats) -> float:
    """The standard deviation of a network's accuracy from seed to seed, pooled over networks."""
    return float(np.sqrt(alone.var(axis=0, ddof=1).mean()))
