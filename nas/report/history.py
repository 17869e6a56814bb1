"""How a search went: the reward of each network for one target, and the best so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.reward import Reward
from nas.study import Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryPoint:
    """A finished trial.

    Attributes:
        reward: for the target of the page, whatever others the search had.
        best: the highest reward so far, this trial's included.
        is_best: whether it is this trial's, and higher than all before.
    """

    number: int
    reward: float
    best: float
    is_best: bool


def search_history(
    found: Sequence[Candidate], reward: Reward, target_ms: float
) -> list[HistoryPoint]:
    """The finished trials by number."""
    points: list[HistoryPoint] = []
    best = float("-inf")
    for candidate in sorted(found, key=lambda each: each.number):
        value = float(reward(candidate.accuracy, candidate.latency_ms, target_ms))
        is_best = value > best
        best = max(best, value)
        points.append(
            HistoryPoint(number=candidate.number, reward=value, best=best, is_best=is_best)
        )
    return points
