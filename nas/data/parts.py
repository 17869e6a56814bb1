"""Which images train, validate and test, where a data set does not say so itself."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LEAST_IMAGES = 5
"""Of a class that is split."""

Rows = NDArray[np.int64]


def check_shares(**shares: float) -> None:
    """Refuse a share of images that is out of range.

    Raises:
        ValueError: it is.
    """
    for field, share in shares.items():
        if (
            isinstance(share, bool)
            or not isinstance(share, int | float)
            or not 0.01 <= share <= 0.45
        ):
            raise ValueError(f"data.{field} must be in 0.01..0.45, but got {share!r}")


def divide(
    labels: NDArray[np.int64], digests: NDArray[np.uint64], *, seed: int, shares: Sequence[float]
) -> list[Rows]:
    """Images of each share, with equal class shares, and at last the rest; all in order.

    Which ones follows from the seed and their contents: neither names nor the order of files bear
    on it. Equal images of a class go the same way.
    """
    keys = _mixed(digests ^ _mixed(np.array([seed], np.uint64)))
    parts = np.full(len(labels), len(shares))
    order = np.lexsort((keys, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    for rows in np.split(order, starts[1:]):
        end = 0
        for part, share in enumerate(shares):
            begin, end = end, min(len(rows), end + math.ceil(share * len(rows)))
            while begin < end < len(rows) and keys[rows[end]] == keys[rows[end - 1]]:
                end += 1
            parts[rows[begin:end]] = part
    return [np.flatnonzero(parts == part) for part in range(len(shares) + 1)]


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finaliser (Steele et al., 2014): every bit bears on every other."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
