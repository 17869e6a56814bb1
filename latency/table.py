"""A table of measured latencies: load it, look blocks up, predict networks.

A missing entry raises and says which command measures it: never a default, never zero, never
interpolated. A table of another device, runtime, thread count, batch or precision is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from latency.keys import OVERHEAD_KEY, block_key, network_keys
from latency.profile import MAX_FILE_BYTES, ProfileError, difference, parse_table
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

PLAUSIBLE = 1e-9, 1e9
"""Every number of an entry lies in between; what does not was not measured."""

PLAUSIBLE_SCALE = 0.1, 10.0
"""Whole networks over the sum of their blocks."""

PLAUSIBLE_DRIFT = 100.0
"""How far an entry's ratio may be from that of its two latencies, which drift and it does not."""


class TableError(ValueError):
    """A table that cannot be used; the message says why and what to do."""


class MissingEntryError(LookupError):
    """A block that the table does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One measured graph.

    Attributes:
        ratio: its latency over the reference block's, median of the rounds.
        interval: half the 95 % interval of that median, relative.
        rounds: how many bracketed bursts.
        latency_ms: median of what the clock said, drift and all.
        reference_ms: the reference block's latency beside it.
        parts: the keys of the blocks, where the graph is a whole network.
    """

    key: str
    ratio: float
    interval: float
    rounds: int
    latency_ms: float
    reference_ms: float
    parts: tuple[str, ...] = ()


class LatencyTable:
    """Latencies of blocks on one device, in milliseconds at the device's median speed."""

    def __init__(self, header: Mapping[str, Any], entries: Iterable[Entry], source: str) -> None:
        self.header = dict(header)
        self.source = source
        self._entries = {entry.key: entry for entry in entries}

    @classmethod
    def load(cls, path: Path) -> "LatencyTable":
        """Read a table. A torn last line, which a killed run may leave, is dropped.

        Raises:
            TableError: it is no table, or a line elsewhere is damaged or impossible.
            OSError: the file cannot be read.
        """
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        try:
            records = parse_table(path, content)
        except ProfileError as error:
            raise TableError(str(error)) from None
        if not records:
            raise TableError(f"{path} holds no table yet; measure one into it")
        entries = [_parse_entry(path, n, record) for n, record in enumerate(records[1:], start=2)]
        return cls(records[0], entries, str(path))

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: str) -> bool:
        return key in self._entries

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
        """The reference block's latency: the median over all entries' brackets."""
        return median(entry.reference_ms for entry in self._entries.values())

    @cached_property
    def overhead_ms(self) -> float:
        """What a ``session.run`` costs by itself: a network pays it once, every block paid it."""
        return self.entry(OVERHEAD_KEY).ratio * self.reference_ms

    @cached_property
    def scale(self) -> float:
        """Whole networks over the sum of their blocks, median of the networks in the table.

        A block alone finds its weights in the cache and pays its own layout reorders, so a sum is
        off by a few per cent, the same way for all. 1 where the table holds no whole network.
        """
        scales = [
            self._net_ms(entry.key) / max(self._sum_ms(entry.parts), PLAUSIBLE[0])
            for entry in self._entries.values()
            if entry.parts and all(part in self for part in entry.parts)
        ]
        scale = median(scales) if scales else 1.0
        low, high = PLAUSIBLE_SCALE
        if not low <= scale <= high:
            raise TableError(
                f"{self.source} predicts nothing: its whole networks take {scale:.3g} times the "
                "sum of their blocks; measure anew under another file name"
            )
        return scale

    def block_latency_ms(self, block: Block, input_shape: TensorShape) -> float:
        """What the block adds to a network's latency."""
        return self.scale * self._net_ms(block_key(block, input_shape))

    def network_latency_ms(self, architecture: Architecture) -> float:
        """The predicted latency of a whole network, end to end."""
        return self.overhead_ms + self.scale * self._sum_ms(network_keys(architecture))

    def _sum_ms(self, keys: Iterable[str]) -> float:
        return sum(self._net_ms(key) for key in keys)

    def _net_ms(self, key: str) -> float:
        """Without what a ``session.run`` costs by itself."""
        return max(0.0, self.entry(key).ratio * self.reference_ms - self.overhead_ms)


def _parse_entry(path: Path, number: int, record: Mapping[str, Any]) -> Entry:
    try:
        _check_names(record)
        for name in ("ratio", "latency_ms", "reference_ms", "interval"):
            _check_number(name, record[name], low=0.0 if name == "interval" else PLAUSIBLE[0])
        if type(record["rounds"]) is not int or not 1 <= record["rounds"] <= PLAUSIBLE[1]:
            raise ValueError(f"rounds must be a positive integer, but is {record['rounds']!r:.40}")
        entry = Entry(**{**record, "parts": tuple(record.get("parts", ()))})
        drift = entry.ratio * entry.reference_ms / entry.latency_ms
        if not 1 / PLAUSIBLE_DRIFT <= drift <= PLAUSIBLE_DRIFT:
            raise ValueError("ratio, latency_ms and reference_ms contradict each other")
    except ValueError as error:
        raise TableError(
            f"{path}, line {number}: {error}; delete the line to measure it again"
        ) from None
    return entry


def _check_names(record: Mapping[str, Any]) -> None:
    required = {field.name for field in fields(Entry) if field.default is MISSING}
    if missing := sorted(required - record.keys()):
        raise ValueError(f"lacks {missing[0]!r}")
    if unknown := sorted(record.keys() - required - {"parts"}):
        raise ValueError(f"has the unknown field {unknown[0]!r:.40}")
    parts = record.get("parts", [])
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"parts must be a list of keys, but is {parts!r:.80}")


def _check_number(name: str, value: object, low: float) -> None:
    high = PLAUSIBLE[1]
    # A bool is an int to Python, but no latency.
    if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
        raise ValueError(f"{name} must be a number in {low:g}..{high:g}, but is {value!r:.40}")
