"""How well predictions agree with the clock."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Predicted against measured latencies of whole networks. Errors are relative: 0.01 is 1 %.

    Attributes:
        networks: how many.
        mape: mean absolute error.
        bias: mean error; positive where too slow a network is predicted.
        worst: the largest absolute error.
        within_5, within_10: the share of networks whose error is within ±5 %, ±10 %.
        rank_correlation: Spearman's; None for fewer than three networks, or where all are equal.
    """

    networks: int
    mape: float
    bias: float
    worst: float
    within_5: float
    within_10: float
    rank_correlation: float | None

    def __str__(self) -> str:
        rank = "–" if self.rank_correlation is None else f"{self.rank_correlation:.4f}"
        return (
            f"MAPE {self.mape:.2%}, within ±5 % {self.within_5:.1%}, within ±10 % "
            f"{self.within_10:.1%}, rank correlation {rank}, bias {self.bias:+.2%}, "
            f"worst {self.worst:.1%}"
        )


def fidelity(predicted_ms: Sequence[float], measured_ms: Sequence[float]) -> Fidelity:
    """Compare latencies of the same networks, in the same order.

    Raises:
        ValueError: there are none, or not as many of one as of the other.
    """
    if not predicted_ms or len(predicted_ms) != len(measured_ms):
        raise ValueError(
            f"{len(predicted_ms)} predictions cannot be compared with {len(measured_ms)} networks"
        )
    predicted, measured = np.asarray(predicted_ms), np.asarray(measured_ms)
    errors = predicted / measured - 1
    size = np.abs(errors)
    return Fidelity(
        networks=len(errors),
        mape=float(size.mean()),
        bias=float(errors.mean()),
        worst=float(size.max()),
        within_5=float((size <= 0.05).mean()),
        within_10=float((size <= 0.10).mean()),
        rank_correlation=_rank_correlation(predicted, measured),
    )


def _rank_correlation(some: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    if len(some) < 3 or np.ptp(some) == 0 or np.ptp(others) == 0:
        return None
    return float(np.corrcoef(_ranks(some), _ranks(others))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks; equal values share the mean of theirs."""
    _, groups, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[groups]
