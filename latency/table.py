"""A table of measured latencies: load it, look blocks up, predict networks.

A missing entry raises and says which command measures it: never a default, never zero, never
interpolated. A table of another device, runtime, thread count, batch or precision is refused.
"""

import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from latency.keys import OVERHEAD_KEY, block_key, network_keys
from latency.profile import FORMAT_VERSION, TABLE_FORMAT, difference
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

MAX_LATENCY_MS = 1e7


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
            TableError: a line elsewhere is damaged or holds impossible values.
            OSError: the file cannot be read.
        """
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].splitlines()
        if not lines:
            raise TableError(f"{path} holds no table; delete it and measure again")
        header = _parse_header(path, lines[0])
        entries = [_parse_entry(path, n, line) for n, line in enumerate(lines[1:], start=2)]
        keys = [entry.key for entry in entries]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise TableError(f"{path} holds {twice!r:.120} twice; delete one of the lines")
        return cls(header, entries, str(path))

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
            (entry.ratio * self.reference_ms - self.overhead_ms) / self._sum(entry.parts)
            for entry in self._entries.values()
            if entry.parts and all(part in self for part in entry.parts)
        ]
        return median(scales) if scales else 1.0

    def block_latency_ms(self, block: Block, input_shape: TensorShape) -> float:
        """What the block adds to a network's latency."""
        return self._share_ms(block_key(block, input_shape))

    def network_latency_ms(self, architecture: Architecture) -> float:
        """The predicted latency of a whole network, end to end."""
        blocks = (self._share_ms(key) for key in network_keys(architecture))
        return self.overhead_ms + sum(blocks)

    def _share_ms(self, key: str) -> float:
        return self.scale * max(0.0, self.entry(key).ratio * self.reference_ms - self.overhead_ms)

    def _sum(self, keys: Iterable[str]) -> float:
        return sum(
            max(0.0, self.entry(key).ratio * self.reference_ms - self.overhead_ms) for key in keys
        )


def _parse_json(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise TableError(
            f"{path}, line {number}, is damaged: not a JSON object; delete the line, then the same "
            "command measures it again"
        )
    return record


def _parse_header(path: Path, line: bytes) -> dict[str, Any]:
    header = _parse_json(path, 1, line)
    if header.get("format") != TABLE_FORMAT or header.get("version") != FORMAT_VERSION:
        raise TableError(
            f"{path} is no latency table of this version: its first line says "
            f"{header.get('format')!r:.80}, version {header.get('version')!r:.20}"
        )
    return header


def _parse_entry(path: Path, number: int, line: bytes) -> Entry:
    record = _parse_json(path, number, line)
    try:
        parts = record.get("parts", [])
        entry = Entry(
            key=record["key"],
            ratio=_positive(record, "ratio", MAX_LATENCY_MS),
            interval=_positive(record, "interval", math.inf, low=0.0),
            rounds=int(_positive(record, "rounds", 1e9)),
            latency_ms=_positive(record, "latency_ms", MAX_LATENCY_MS),
            reference_ms=_positive(record, "reference_ms", MAX_LATENCY_MS),
            parts=tuple(parts),
        )
        if not all(isinstance(key, str) for key in (entry.key, *entry.parts)):
            raise ValueError("keys must be strings")
    except KeyError as error:
        raise TableError(f"{path}, line {number}, lacks {error}") from None
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}, line {number}, is damaged: {error}") from None
    return entry


def _positive(
    record: Mapping[str, Any], field: str, high: float, low: float = sys.float_info.min
) -> float:
    value = record[field]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{field} must be a number above 0, but is {value!r:.40}")
    return float(value)
