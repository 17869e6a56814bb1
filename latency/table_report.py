"""A table as a person reads it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from latency.plan import CALIBRATION
from latency.profile import pooled_spread
from latency.table import Entry, LatencyTable, TableError
from latency.table_checks import complete_networks

MAX_TEXT = 300
"""Characters of one value of a table; files come from elsewhere."""


def show_lines(table: LatencyTable, visits: Sequence[Mapping[str, Any]], top: int) -> list[str]:
    """What a table holds, with its ``top`` slowest blocks and its ``top`` widest intervals."""
    facts = {name: printable(value) for name, value in flat_header(table.header).items()}
    facts |= _visit_facts(table, visits) | _network_facts(table)
    blocks = [entry for entry in table.entries if not entry.parts]
    slowest = sorted(blocks, key=lambda entry: -entry.latency_ms)[:top]
    widest = sorted(table.entries, key=lambda entry: -entry.interval)[:top]
    return [
        table.source,
        *aligned((f"  {name}", text) for name, text in facts.items()),
        *_extremes("slowest blocks", slowest),
        *_extremes("widest intervals", widest),
    ]


def _visit_facts(table: LatencyTable, visits: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    kinds = Counter(kind_of(entry.key) for entry in table.entries)
    rounds = [entry.rounds for entry in table.entries]
    by_key: dict[str, list[float]] = {}
    for visit in visits:
        by_key.setdefault(visit["key"], []).append(visit["latency_ms"])
    references = [visit["reference_ms"] for visit in visits if "parts" not in visit]
    low, usual, high = np.quantile(references or [table.reference_ms], [0.05, 0.5, 0.95])
    middle, wide = np.quantile([entry.interval for entry in table.entries], [0.5, 0.95])
    times = [visit["at_s"] for visit in visits]
    return {
        "measured": f"{_moment(min(times))} to {_moment(max(times))}",
        "entries": f"{len(table)}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()),
        "visits": f"{len(visits)}, {min(rounds)} to {max(rounds)} an entry",
        "spread": f"{pooled_spread(list(by_key.values())):.2%} between visits, drift and all",
        "intervals": f"±{middle:.2%} in the median, ±{wide:.2%} or less for 95 % of the entries",
        "drift": f"reference {usual:.3f} ms, {low:.3f} to {high:.3f} ms in 90 % of the visits",
        "throttled": f"{sum(1 for visit in visits if visit.get('throttled'))} visits",
    }


def _network_facts(table: LatencyTable) -> dict[str, str]:
    roles = Counter(entry.role or "other" for entry in table.entries if entry.parts)
    networks = ", ".join(f"{n} {printable(role)}" for role, n in roles.items()) or "none"
    try:
        fitted = sum(1 for entry in complete_networks(table) if entry.role == CALIBRATION)
        facts = {"scale": _scale(table.scale, fitted)}
        validation = table.validation()
    except TableError as error:
        return {"networks": networks, "scale": str(error)}
    if validation is not None:
        facts |= {"predictions": str(validation.prediction), "noise floor": str(validation.noise)}
    return {"networks": networks, **facts}


def _scale(scale: float, fitted: int) -> str:
    if not fitted:
        return "1, there is no network to fit it on"
    return f"{scale:.4f}, fitted on {fitted} networks"


def _extremes(title: str, entries: Sequence[Entry]) -> list[str]:
    rows = ((f"    {e.latency_ms:.4f} ms", f"±{e.interval:.2%}", printable(e.key)) for e in entries)
    return ["", f"  {title}", *aligned(rows)] if entries else []


def _moment(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def kind_of(key: str) -> str:
    """What a key is the key of: ``InvertedResidual``, ``boundary``, ``Network``, …"""
    kind = printable(key.partition("(")[0].partition("@")[0])
    return f"{kind} alone" if key.endswith(" alone") else kind


def flat_header(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header whose objects' fields are fields of their own: ``device.cpu``."""
    flat: dict[str, Any] = {}
    for name, value in header.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": content for inner, content in value.items()}
        else:
            flat[name] = value
    return flat


def printable(value: object) -> str:
    """A value of a file from elsewhere as text that does a terminal no harm."""
    text = value if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Lines with equal columns below each other, two spaces apart."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
