"""A table of measured latencies: load it, look blocks up, predict networks.

A missing entry raises and says which command measures it: never a default, never zero, never
interpolated. A table of another device, runtime, thread count, batch or precision is refused.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from latency.context import After, walk_in_context
from latency.fidelity import Fidelity, fidelity
from latency.keys import block_key, boundary_key
from latency.plan import CALIBRATION, VALIDATION
from latency.profile import (
    ProfileError,
    at_usual_speed,
    difference,
    half_interval,
    parse_table,
    pooled_spread,
    read_table,
)
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

PS_PER_MS = 1e9
FARTHEST = 2.0
TINY_MS = 1e-9
PLAUSIBLE_SCALE = 0.2, 5.0
"""Whole networks over the sum of their blocks."""


class TableError(ValueError):
    """A table that cannot be used; the message says why and what to do."""


class MissingEntryError(LookupError):
    """A block that the table does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measured graph.

    Attributes:
        latency_ms: of a run where little else happens, at the machine's usual speed: ``usual`` of
            the visits.
        median_ms: median over the visits of their medians: what the clock said, drift and all.
        interval: half the 95 % interval of ``latency_ms``, relative.
        rounds: how many visits.
        runs: how many timed runs in all of them.
        drift: the reference's slowest visit beside this entry over its fastest.
        reference_ms: the reference network's latency beside it, median of the visits.
        parts, boundaries: of a whole network: the keys that a prediction adds and subtracts.
        role: of a whole network: what it was measured for.
        halves_ms: the latency of the earlier and of the later half of the visits.
        ops: (node, operator, milliseconds) of every node, where they were timed.
    """

    key: str
    latency_ms: float
    median_ms: float
    interval: float
    rounds: int
    runs: int
    drift: float
    reference_ms: float
    parts: tuple[str, ...] = ()
    boundaries: tuple[str, ...] = ()
    role: str = ""
    halves_ms: tuple[float, float] | None = None
    ops: tuple[tuple[str, str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """A table's predictions of whole networks that it was not fitted on, against the clock.

    ``noise`` compares the earlier half of the same networks' visits with the later one: no
    prediction can be expected to agree better than that.
    """

    prediction: Fidelity
    noise: Fidelity


class LatencyTable:
    """Latencies of blocks on one device, in milliseconds at the device's median speed.

    ``speed`` is what predictions are multiplied by, where another speed is meant.
    """

    def __init__(
        self,
        header: Mapping[str, Any],
        entries: Iterable[Entry],
        source: str,
        speed: float = 1.0,
    ) -> None:
        self.header = dict(header)
        self.source = source
        self._entries = {entry.key: entry for entry in entries}
        self._speed = speed

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Read a table. A torn last line, which a killed run may leave, is dropped.

        Raises:
            TableError: it is no table, or a line elsewhere is damaged or impossible.
            OSError: the file cannot be read.
        """
        header, visits = read_visits(path)
        return cls(header, aggregate(visits), str(path))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, in the order of their first visits."""
        return tuple(self._entries.values())

    def entry(self, key: str) -> Entry:
        """The entry called ``key``; ``MissingEntryError`` if the table lacks it."""
        try:
            return self._entries[key]
        except KeyError:
            raise MissingEntryError(
                f"{self.source} has no entry for {key}; measure it with `python -m latency.plan "
                f"…` and `python latency/profile.py PLAN --out {self.source}`, or let "
                "`python -m nas.search` do so"
            ) from None

    def check(self, **expected: object) -> None:
        """Refuse the table unless its header has these values.

        Raises:
            TableError: it has others; the message names each.
        """
        theirs = {name: self.header.get(name) for name in expected}
        if theirs != expected:
            raise TableError(
                f"{self.source} does not hold here: {difference(theirs, dict(expected))}; "
                "give another table, or measure anew under another file name"
            )

    @cached_property
    def reference_ms(self) -> float:
        """The reference network's latency beside blocks, median over the entries."""
        blocks = [entry for entry in self._entries.values() if not entry.parts]
        return median(entry.reference_ms for entry in blocks or self._entries.values())

    @cached_property
    def scale(self) -> float:
        """Whole networks over the sum of their blocks: the median of those for calibration, or 1.

        Raises:
            TableError: it is none that blocks measured in their places could have.
        """
        networks = self._whole_networks(CALIBRATION)
        if not networks:
            return 1.0
        scale = median(n.latency_ms / max(self._sum_ms(n), TINY_MS) for n in networks)
        low, high = PLAUSIBLE_SCALE
        if not low <= scale <= high:
            raise TableError(
                f"{self.source} predicts nothing: its whole networks take {scale:.3g} "
                "times the sum of their blocks; measure anew under another file name"
            )
        return scale

    def validation(self) -> Validation | None:
        """How well the networks that are there for it are predicted; None where none are."""
        networks = self._whole_networks(VALIDATION)
        halves = [entry.halves_ms for entry in networks if entry.halves_ms is not None]
        if not halves:
            return None
        return Validation(
            prediction=fidelity(
                [self.predicted_ms(entry) for entry in networks],
                [entry.latency_ms for entry in networks],
            ),
            noise=fidelity([early for early, _ in halves], [late for _, late in halves]),
        )

    def validated(self) -> list[tuple[float, float]]:
        """What is predicted and what was measured, of each network that is there for it."""
        networks = self._whole_networks(VALIDATION)
        return [(self.predicted_ms(entry), entry.latency_ms) for entry in networks]

    def block_cost_ps(self, block: Block, input_shape: TensorShape, after: After) -> int:
        """What the block adds to a network, in picoseconds: a sum of integers is exact."""
        boundary = None if after is After.IMAGE else boundary_key(input_shape, after)
        added_ms = self._added_ms(block_key(block, input_shape, after), boundary)
        return round(self._speed * self.scale * added_ms * PS_PER_MS)

    def at_speed_of(self, architecture: Architecture, latency_ms: float) -> "LatencyTable":
        """The table of a machine on which the network takes so long.

        How fast a machine usually is, is known to some percent, and anew with every entry. What a
        network that changes step by step saves is not to depend on that.

        Raises:
            MissingEntryError: the table lacks one of the network's blocks.
        """
        speed = self._speed * latency_ms / self.network_latency_ms(architecture)
        return LatencyTable(self.header, self.entries, self.source, speed)

    def network_latency_ms(self, architecture: Architecture) -> float:
        """The predicted latency of a whole network, end to end."""
        return sum(self.block_cost_ps(*step) for step in walk_in_context(architecture)) / PS_PER_MS

    def _whole_networks(self, role: str) -> list[Entry]:
        return [
            entry
            for entry in self._entries.values()
            if entry.role == role and all(key in self for key in entry.parts + entry.boundaries)
        ]

    def predicted_ms(self, network: Entry) -> float:
        """What the blocks say of a whole network that was measured end to end.

        Raises:
            MissingEntryError: the table lacks one of the blocks.
            TableError: the table predicts nothing.
        """
        return self.scale * self._sum_ms(network)

    def _sum_ms(self, network: Entry) -> float:
        """What a whole network's blocks add up to."""
        return sum(map(self._added_ms, network.parts, (None, *network.boundaries)))

    def _added_ms(self, key: str, boundary: str | None) -> float:
        """What a block adds to a network: less the stubs that it was timed between."""
        stubs_ms = 0.0 if boundary is None else self.entry(boundary).latency_ms
        return max(0.0, self.entry(key).latency_ms - stubs_ms)


def read_visits(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A table file's header and lines.

    Raises:
        TableError: it is no table, or a line that is not the last is damaged or impossible.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        content = read_table(file)
    try:
        records = parse_table(path, content)
    except ProfileError as error:
        raise TableError(str(error)) from None
    if not records:
        raise TableError(f"{path} holds no table yet; measure one into it")
    return records[0], records[1:]


def aggregate(visits: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """A table's lines, in any order → its entries, in the order of their first visits."""
    visits = sorted(visits, key=lambda visit: (visit["at_s"], visit["key"]))
    by_key: dict[str, list[Mapping[str, Any]]] = {}
    for visit in visits:
        by_key.setdefault(visit["key"], []).append(visit)
    latencies = at_usual_speed(visits)
    spread = pooled_spread(list(latencies.values()))
    return [_entry(group, latencies[key], spread) for key, group in by_key.items()]


def usual(latencies: Sequence[float], spread: float) -> float:
    """The mean of visits on a scale of ratios, in which none counts as farther off than usual.

    What is more than two standard deviations, ``spread``, from the median is brought that near
    (Huber's estimator, one step): of four visits, a median would leave half of what they say.
    """
    logarithms = np.log(latencies)
    middle = np.median(logarithms)
    reach = FARTHEST * spread
    return float(np.exp(np.clip(logarithms, middle - reach, middle + reach).mean()))


def _entry(visits: Sequence[Mapping[str, Any]], latencies: list[float], spread: float) -> Entry:
    last, middle = visits[-1], len(latencies) // 2
    references = [visit["reference_ms"] for visit in visits]
    return Entry(
        key=last["key"],
        latency_ms=usual(latencies, spread),
        median_ms=median(visit["median_ms"] for visit in visits),
        interval=half_interval(latencies, spread),
        rounds=len(visits),
        runs=sum(int(visit["runs"]) for visit in visits),
        drift=max(references) / min(references),
        reference_ms=median(references),
        parts=tuple(last.get("parts", ())),
        boundaries=tuple(last.get("boundaries", ())),
        role=last.get("role", ""),
        halves_ms=(usual(latencies[:middle], spread), usual(latencies[middle:], spread))
        if middle
        else None,
        ops=next((tuple(map(tuple, visit["ops"])) for visit in visits if "ops" in visit), ()),
    )


if __name__ == "__main__":
    from latency.table_command import main

    sys.exit(main())
