"""How fast the machine was at each visit, from the reference network timed beside it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

WINDOW_SECONDS = 2.0
MIN_WINDOWS = 5
SHARES = np.linspace(0.0, 1.0, 11)


def corrected(
    latencies: Sequence[Sequence[float]],
    times_s: Sequence[Sequence[float]],
    references: Sequence[Sequence[float]],
    *,
    is_block: Sequence[bool],
) -> list[FloatArray]:
    """The visits of every entry, as if the machine had had its median speed throughout.

    The reference reacts to a disturbance more, or less, than other graphs do: neighbours who take
    memory bandwidth slow down what reads many weights, a lower clock slows down everything alike.
    So an entry is divided by the reference's drift to a power between 0 and 1, the *share*: that
    with which repeated visits agree best.

    Args:
        latencies, times_s, references: of every entry, its visits' figures.
        is_block: whether an entry is small. Beside a whole network the reference finds its own
            weights colder, and says nothing of the machine.
    """
    visits = [np.asarray(values, np.float64) for values in latencies]
    at = [np.asarray(values, np.float64) for values in times_s]
    small = [index for index, block in enumerate(is_block) if block]
    if not small:
        return visits
    centres, drift = _drift(
        np.concatenate([at[index] for index in small]),
        np.concatenate([np.asarray(references[index], np.float64) for index in small]),
    )
    if len(centres) < MIN_WINDOWS:
        return visits
    log_drift = [np.interp(times, centres, drift) for times in at]
    share = _share([np.log(visits[i]) for i in small], [log_drift[i] for i in small])
    return [values * np.exp(-share * d) for values, d in zip(visits, log_drift, strict=True)]


def _drift(times_s: FloatArray, references: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Windows' centres, and the logarithm of how slow the reference was in each."""
    windows = ((times_s - times_s.min()) / WINDOW_SECONDS).astype(np.int64)
    order = np.argsort(windows, kind="stable")
    _, starts = np.unique(windows[order], return_index=True)
    centres = np.array([part.mean() for part in np.split(times_s[order], starts[1:])])
    slowness = np.array([np.median(part) for part in np.split(references[order], starts[1:])])
    return centres, np.log(slowness / np.median(references))


def _share(log_latencies: Sequence[FloatArray], log_drift: Sequence[FloatArray]) -> float:
    pairs = [
        (latency[1:] - latency[:-1], drift[1:] - drift[:-1])
        for latency, drift in zip(log_latencies, log_drift, strict=True)
        if len(latency) > 1
    ]
    if not pairs:
        return 0.0
    change, drift_change = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    disagreements = [np.median(np.abs(change - share * drift_change)) for share in SHARES]
    return float(SHARES[int(np.argmin(disagreements))])
