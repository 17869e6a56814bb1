"""How a run times whole networks: always beside the seed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from latency.devices import Device
from latency.plan import MeasureSettings, PlanEntry, network_entry
from latency.side_by_side import SideBySide, measure_side_by_side
from nas.units import parse_latency_ms
from search_spaces import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """What the clock says of a network: milliseconds, and half the 95 % interval, relative."""

    measured_ms: float
    interval: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Times networks in turns with the seed, so that what disturbs the machine disturbs both."""

    device: Device
    settings: MeasureSettings

    def entry(self, architecture: Architecture) -> PlanEntry:
        return network_entry(
            architecture, batch=self.settings.batch, precision=self.settings.precision
        )

    def side_by_side(self, first: PlanEntry, second: PlanEntry, folder: Path) -> SideBySide:
        """Two networks in turns; sittings that the folder holds are reused."""
        # Where somebody carries the file to a device, it meets those of other pairs.
        pair = hashlib.sha256(f"{first.key} {second.key}".encode()).hexdigest()[:12]
        path = folder / f"clock_{pair}.jsonl"
        return measure_side_by_side(self.device, path, first, second, self.settings)

    def timed(
        self, seed: Architecture, seed_ms: float, architecture: Architecture, folder: Path
    ) -> Timed:
        """A network, where the seed takes ``seed_ms``."""
        found = self.side_by_side(self.entry(architecture), self.entry(seed), folder)
        return Timed(measured_ms=found.ratio * seed_ms, interval=found.interval)


def target_in_ms(target: str, seed_ms: float) -> float:
    """``10ms``, or ``80%`` of what the seed takes, in milliseconds.

    Raises:
        ValueError: it is neither.
    """
    if not target.endswith("%"):
        return parse_latency_ms(target)
    try:
        share = float(target[:-1]) / 100
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise ValueError(
            f"target_latency in % must be above 0% and below 100% of the seed's latency, but got "
            f"{target!r:.80}"
        )
    return share * seed_ms
