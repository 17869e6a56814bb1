"""Regrets of many searches → means, intervals, trials needed, and what differs beyond chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Key: TypeAlias = tuple[str, str, int, str]
"""Problem, reward, target, sampler."""

Curves: TypeAlias = NDArray[np.float64]
"""(seeds, trials): the regret after each trial of a search from each seed."""

OURS = "lookup_aware"
AFTER = (25, 50, 100)
RESAMPLES = 2000
POINTS = 100.0
"""Of accuracy, or of reward, in 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanRegret:
    """The mean over seeds, in points, with a 95 % interval (bootstrap over seeds)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Ours against the best of the others after ``trials`` trials.

    Attributes:
        rival: which one that is.
        ours, theirs: mean regret, in points.
        needed: trials after which our mean regret is no higher than theirs after ``trials``;
            ``None`` where that does not happen.
        is_worse: whether our regret is higher with a 95 % interval of the difference above 0.
    """

    trials: int
    rival: str
    ours: float
    theirs: float
    needed: int | None
    is_worse: bool

    @property
    def share(self) -> float:
        """``needed`` of ``trials``; infinite where theirs is never reached."""
        return float("inf") if self.needed is None else self.needed / self.trials


def mean_regret(curves: Curves, trials: int) -> MeanRegret:
    """The mean regret after so many trials."""
    regrets = POINTS * curves[:, trials - 1]
    low, high = np.quantile(_resampled_means(regrets), (0.025, 0.975))
    return MeanRegret(mean=float(regrets.mean()), low=float(low), high=float(high))


def compare(ours: Curves, others: Mapping[str, Curves], trials: int) -> Comparison:
    """Our searches against those of the best other sampler after so many trials."""
    means = {name: curves[:, trials - 1].mean() for name, curves in others.items()}
    rival = min(means, key=lambda name: float(means[name]))
    mean_curve = ours.mean(axis=0)
    reached = np.flatnonzero(mean_curve <= means[rival] + 1e-12)
    difference = POINTS * (ours[:, trials - 1] - others[rival][:, trials - 1])
    low = np.quantile(_resampled_means(difference), 0.025)
    return Comparison(
        trials=trials,
        rival=rival,
        ours=float(POINTS * mean_curve[trials - 1]),
        theirs=float(POINTS * means[rival]),
        needed=int(reached[0]) + 1 if len(reached) else None,
        is_worse=bool(low > 0),
    )


def comparisons(
    found: Mapping[Key, Curves], after: Sequence[int] = AFTER
) -> dict[tuple[str, str, int], list[Comparison]]:
    """Ours against the best other, for every problem, reward and target."""
    compared = {}
    for problem, reward, target in sorted({key[:3] for key in found}):
        others = {
            sampler: curves
            for (*setting, sampler), curves in found.items()
            if setting == [problem, reward, target] and sampler != OURS
        }
        ours = found.get((problem, reward, target, OURS))
        if ours is not None and others:
            compared[problem, reward, target] = [
                compare(ours, others, trials) for trials in after if trials <= ours.shape[1]
            ]
    return compared


def trials_to_reach(found: Mapping[Key, Curves], reward: str, trials: int) -> tuple[float, int]:
    """Over all settings with a reward: our trials of theirs, by regrets averaged over settings.

    A regret of one setting can be 0 early by luck; the mean over all settings is steadier.

    Returns:
        the share of ``trials`` that we need to reach the best other's mean regret (infinite where
        it is not reached), and how many trials that is.
    """
    samplers = {key[3] for key in found}
    means = {
        sampler: np.mean(
            [
                curves.mean(axis=0)
                for key, curves in found.items()
                if key[1::2] == (reward, sampler)
            ],
            axis=0,
        )
        for sampler in samplers
    }
    best = min(means[sampler][trials - 1] for sampler in samplers - {OURS})
    reached = np.flatnonzero(means[OURS] <= best + 1e-12)
    needed = int(reached[0]) + 1 if len(reached) else 0
    return (needed / trials if needed else float("inf")), needed


def _resampled_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rng = np.random.default_rng(0)
    chosen = rng.integers(len(values), size=(RESAMPLES, len(values)))
    return np.asarray(values[chosen].mean(axis=1))
