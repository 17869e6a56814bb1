"""From the sum of a network's blocks to its latency: two numbers, fitted on whole networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

MIN_NETWORKS = 8
"""For fewer, the scale alone is fitted."""

_STEPS = 20
_SMALL_ERROR = 0.005

Added: TypeAlias = tuple[float, float]
"""Milliseconds, and megabytes of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """latency = scale × sum of the blocks + ms_per_mb × megabytes of weights.

    The weights of a whole network are colder than those of a block between two runs of the
    reference network: more other weights were read since they were.
    """

    scale: float = 1.0
    ms_per_mb: float = 0.0

    def apply(self, added: Added) -> float:
        """The latency, in milliseconds, that a block or a network adds."""
        latency_ms, weights_mb = added
        return self.scale * latency_ms + self.ms_per_mb * weights_mb


def fit_correction(sums: Sequence[Added], measured_ms: Sequence[float]) -> Correction:
    """The correction with the least absolute relative errors; none where there are no networks."""
    if not sums:
        return Correction()
    terms = np.asarray(sums) / np.asarray(measured_ms)[:, None]
    if len(sums) >= MIN_NETWORKS:
        scale, ms_per_mb = _least_absolute(terms)
        if ms_per_mb >= 0:
            return Correction(scale=scale, ms_per_mb=ms_per_mb)
    return Correction(scale=float(np.median(1 / np.maximum(terms[:, 0], 1e-12))))


def _least_absolute(terms: NDArray[np.float64]) -> tuple[float, float]:
    """Coefficients whose products with the terms are nearest to 1, by reweighted least squares."""
    weights = np.ones(len(terms))
    for _ in range(_STEPS):
        root = np.sqrt(weights)
        found, *_ = np.linalg.lstsq(terms * root[:, None], root, rcond=None)
        weights = 1 / np.maximum(np.abs(terms @ found - 1), _SMALL_ERROR)
    return float(found[0]), float(found[1])
