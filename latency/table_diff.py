"""What two tables differ in, and whether their intervals explain it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency.fidelity import fidelity
from latency.table import Entry, LatencyTable
from latency.table_checks import complete_networks
from latency.table_report import aligned, flat_header, kind_of, printable

AGREEMENT = 0.8
"""Two tables agree where this share of their differences is within the 95 % intervals. Those are of
a few visits that follow each other, and do not see all that differs from one day to another."""

LARGEST = 5
"""How many of the largest differences are named."""

_Figure: TypeAlias = tuple[float, float]
"""Milliseconds, and half their relative interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How latencies of the same things differ between two tables.

    Attributes:
        ratios: the second table's latencies over the first's.
        allowed: half the relative interval of each ratio.
    """

    ratios: NDArray[np.float64]
    allowed: NDArray[np.float64]

    @classmethod
    def between(cls, figures: Sequence[_Figure], others: Sequence[_Figure]) -> "Change":
        """Of at least one figure and as many others, in the same order."""
        (ms, interval), (other_ms, other_interval) = np.array(figures).T, np.array(others).T
        return cls(ratios=other_ms / ms, allowed=np.hypot(interval, other_interval))

    @property
    def within(self) -> float:
        """The share of differences that the intervals explain."""
        return float((np.abs(self.ratios - 1) <= self.allowed).mean())

    @property
    def order(self) -> list[int]:
        """Where the ratios stand, those furthest from 1 first."""
        return [int(at) for at in np.argsort(-np.abs(np.log(self.ratios)), kind="stable")]

    @property
    def verdict(self) -> str:
        """Whether the tables agree."""
        usual, allowed = float(np.median(self.ratios)) - 1, float(np.median(self.allowed))
        agree = "agree" if self.within >= AGREEMENT else "differ"
        return (
            f"the tables {agree}: {self.within:.1%} of the differences are within the 95 % "
            f"intervals; in the median the second is {abs(usual):.2%} "
            f"{'faster' if usual < 0 else 'slower'}, and the intervals allow ±{allowed:.2%}"
        )


def header_differences(
    header: Mapping[str, Any], other: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """(field, its value, the other's) where two headers differ."""
    ours, theirs = flat_header(header), flat_header(other)
    return [
        (name, printable(ours.get(name)), printable(theirs.get(name)))
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]


def diff_lines(table: LatencyTable, other: LatencyTable) -> list[str]:
    """What the tables differ in, as a person reads it."""
    differences = header_differences(table.header, other.header)
    common = [entry for entry in table.entries if entry.key in other]
    lines = [
        *aligned(
            [
                ("", table.source, other.source),
                *((f"  {name}", value, others) for name, value, others in differences),
                ("  reference_ms", f"{table.reference_ms:.3f}", f"{other.reference_ms:.3f}"),
                ("  entries", str(len(table)), str(len(other))),
            ]
        ),
        "",
    ]
    if not common:
        return [*lines, "no entry in common"]
    change = _change(common, other)
    largest = [
        f"    {change.ratios[at]:.4f}  {printable(common[at].key)}" for at in change.order[:LARGEST]
    ]
    return [
        *lines,
        *_ratio_lines(table, other, common),
        "",
        "  largest differences",
        *largest,
        "",
        change.verdict,
    ]


def _ratio_lines(table: LatencyTable, other: LatencyTable, common: Sequence[Entry]) -> list[str]:
    """The ratios of all entries, of each kind, and of the networks that both tables predict."""
    changes = {"all entries in common": _change(common, other)}
    for kind, _ in Counter(kind_of(entry.key) for entry in common).most_common():
        of_kind = [entry for entry in common if kind_of(entry.key) == kind]
        changes[f"  {kind}"] = _change(of_kind, other)
    networks = _networks_of_both(table, other)
    if not networks:
        return aligned(_rows(changes))
    figures = [_predicted(table, network) for network in networks]
    others = [_predicted(other, network) for network in networks]
    changes["predicted networks"] = Change.between(figures, others)
    agreement = fidelity([ms for ms, _ in others], [ms for ms, _ in figures])
    return [*aligned(_rows(changes)), f"  second against first, predicted networks: {agreement}"]


def _rows(changes: Mapping[str, Change]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("  second over first", "number", "median", "quartiles", "largest", "within intervals")
    ]
    for name, change in changes.items():
        low, middle, high = np.quantile(change.ratios, [0.25, 0.5, 0.75])
        rows.append(
            (
                f"  {name}",
                str(len(change.ratios)),
                f"{middle:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{change.ratios[change.order[0]]:.4f}",
                f"{change.within:.1%}",
            )
        )
    return rows


def _change(entries: Sequence[Entry], other: LatencyTable) -> Change:
    others = [other.entry(entry.key) for entry in entries]
    return Change.between(
        *([(e.latency_ms, e.interval) for e in part] for part in (entries, others))
    )


def _networks_of_both(table: LatencyTable, other: LatencyTable) -> list[Entry]:
    """Whole networks of either table whose blocks both hold."""
    both = table, other
    found = {entry.key: entry for held in both for entry in complete_networks(held)}
    return [
        entry
        for entry in found.values()
        if all(key in held for held in both for key in entry.parts + entry.boundaries)
    ]


def _predicted(table: LatencyTable, network: Entry) -> _Figure:
    """A network's prediction; the intervals of its blocks are taken for independent."""
    entries = map(table.entry, network.parts + network.boundaries)
    half_ms = hypot(*(entry.latency_ms * entry.interval for entry in entries))
    latency_ms = table.predicted_ms(network)
    return latency_ms, table.scale * half_ms / latency_ms
