"""How fast the machine was at each visit, from the reference network timed in between."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ENTRIES_A_BIN, MOST_BINS = 12, 16
ENTRIES_A_DEGREE = 40
SHARES = np.linspace(0.0, 1.5, 31)


def corrected(
    latencies: Sequence[Sequence[float]],
    references: Sequence[Sequence[float]],
    *,
    is_block: Sequence[bool],
) -> list[FloatArray]:
    """The visits of every entry, as if the machine had had its usual speed throughout.

    A visit's own reference tells how the machine was just then, and explains nine tenths of what
    visits of an entry differ by. But a disturbance does not slow all graphs alike (neighbours who
    take memory bandwidth slow down what reads many weights; a lower clock slows down everything),
    and the reference itself takes longer where a larger graph has run in between. Both go with how
    long a graph takes. So entries are put into bins by their latency, whole networks apart from
    blocks; each bin has its *level*, the reference's usual latency there, and its *share*, the
    power of the reference's slowness with which repeated visits of the same entries agree best.
    Between bins both are interpolated.

    Args:
        latencies, references: of every entry, its visits' figures. Where there are too few entries
            for one bin, the visits are left as they are.
        is_block: of every entry, whether it is no whole network.
    """
    visits = [np.log(np.asarray(values, np.float64)) for values in latencies]
    beside = [np.log(np.asarray(values, np.float64)) for values in references]
    for kind in (True, False):
        members = [index for index, block in enumerate(is_block) if block is kind]
        found = _corrected([visits[i] for i in members], [beside[i] for i in members])
        for index, values in zip(members, found, strict=True):
            visits[index] = values
    return [np.exp(values) for values in visits]


def _corrected(visits: list[FloatArray], beside: list[FloatArray]) -> list[FloatArray]:
    """The same for the logarithms of entries of one kind."""
    sizes = np.array([np.median(values) for values in visits])
    repeated = np.array([index for index, values in enumerate(visits) if len(values) > 1], np.intp)
    bins = min(MOST_BINS, len(repeated) // ENTRIES_A_BIN)
    if not bins:
        return visits
    parts = np.array_split(repeated[np.argsort(sizes[repeated], kind="stable")], bins)
    centres = [np.median(sizes[part]) for part in parts]
    shares = [_share([visits[i] for i in part], [beside[i] for i in part]) for part in parts]
    return [
        values - share * (reference - level)
        for values, reference, share, level in zip(
            visits,
            beside,
            np.interp(sizes, centres, shares),
            _levels(sizes, np.array([np.median(values) for values in beside])),
            strict=True,
        )
    ]


def _levels(sizes: FloatArray, beside: FloatArray) -> FloatArray:
    """The reference's usual latency beside graphs of each size: a parabola through the entries'.

    Of few entries, which were visited at few moments, a line or a constant.
    """
    degree = min(2, len(sizes) // ENTRIES_A_DEGREE)
    return np.asarray(np.polyval(np.polyfit(sizes, beside, degree), sizes), np.float64)


def _share(visits: Sequence[FloatArray], references: Sequence[FloatArray]) -> float:
    """The power with which successive visits agree best."""
    change = np.concatenate([np.diff(values) for values in visits])
    slower = np.concatenate([np.diff(values) for values in references])
    disagreements = [np.median(np.abs(change - share * slower)) for share in SHARES]
    return float(SHARES[int(np.argmin(disagreements))])
