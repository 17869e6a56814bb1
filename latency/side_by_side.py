"""A network beside another one: how much faster it is, whatever the machine does meanwhile.

A machine that other work disturbs, or that grows warm, is some percent slower a minute later. Where
two networks run in turns, both feel that alike, and their ratio does not.
"""

from dataclasses import dataclass
from math import hypot, prod
from pathlib import Path

from latency.devices.base import Device
from latency.measure import measure_entries
from latency.plan import MeasureSettings, PlanEntry, no_progress
from latency.profile import half_interval, pooled_spread
from latency.table import Entry, TableError, aggregate, read_visits, usual


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Two graphs that were timed in turns.

    Attributes:
        first, second: their entries, over the sittings of both.
        ratio: the first's latency over the second's, by the clock: the mean over the sittings, on
            a scale of ratios, in which those where either was made first count alike.
        interval: half the 95 % interval of ``ratio``, relative.
    """

    first: Entry
    second: Entry
    ratio: float
    interval: float


def measure_side_by_side(
    device: Device,
    path: Path,
    first: PlanEntry,
    second: PlanEntry,
    settings: MeasureSettings,
) -> SideBySide:
    """Time two graphs in turns. Sittings that ``path`` holds are reused.

    Raises:
        TableError, DeviceError, OSError: as ``measure_entries``; also where somebody brought a file
            whose visits are not of the same sittings.
    """
    measure_entries(device, path, [first, second], settings, no_progress)
    sittings: dict[float, dict[str, dict[str, float]]] = {}
    for visit in read_visits(path)[1]:
        sittings.setdefault(visit["at_s"], {})[visit["key"]] = visit
    # One that varied more was visited more often, by itself: its weights were warm then.
    together = [sitting for sitting in sittings.values() if len(sitting) == 2]
    if not together:
        raise TableError(f"{path} holds no sitting of both networks; delete it to measure anew")
    # By which was made first: that one is some percent slower (``profile.py``), and a median over
    # both kinds of sittings would lie anywhere between them.
    ratios: dict[str, list[float]] = {}
    for sitting in together:
        ratio = sitting[first.key]["median_ms"] / sitting[second.key]["median_ms"]
        ratios.setdefault(next(iter(sitting)), []).append(ratio)
    visits = [visit for sitting in together for visit in sitting.values()]
    entries = {entry.key: entry for entry in aggregate(visits)}
    orders = list(ratios.values())
    spread = pooled_spread(orders)
    return SideBySide(
        first=entries[first.key],
        second=entries[second.key],
        ratio=prod(usual(order, spread) for order in orders) ** (1 / len(orders)),
        interval=hypot(*(half_interval(order, spread) for order in orders)) / len(orders),
    )
