"""Hard limits: what a network may cost at most, whatever its accuracy. Checked before training."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from nas.units import parse_amount, parse_latency_ms

Figures: TypeAlias = Mapping[str, Any]
"""``latency_ms``, ``madds``, ``params`` and ``peak_activation_bytes`` of a network or of many."""

LIMITED = {
    "max_latency": "latency_ms",
    "max_madds": "madds",
    "max_params": "params",
    "max_peak_memory": "peak_activation_bytes",
}
"""Each limit, and the figure that it limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that a network may have; ``None`` is no limit.

    Attributes:
        max_latency: predicted, as people write it: ``"20ms"``.
        max_params: parameters: ``"3.5M"``.
        max_madds: multiply-adds: ``"300M"``.
        max_peak_memory: of activations at batch 1 in float32, by ``search_spaces.costs``: ``"2MB"``
            (10⁶ bytes; ``"2MiB"`` is 2²⁰).

    Raises:
        ValueError: a limit is no positive amount, or lacks its unit.
    """

    max_latency: str | None = None
    max_madds: str | float | None = None
    max_params: str | float | None = None
    max_peak_memory: str | None = None

    def __post_init__(self) -> None:
        self.amounts()

    def amounts(self) -> dict[str, float]:
        """Each limit that is given, by the name of the figure that it limits."""
        found = {}
        for field in fields(self):
            written = getattr(self, field.name)
            if written is None:
                continue
            if field.name == "max_latency":
                found[LIMITED[field.name]] = parse_latency_ms(written, field=field.name)
            else:
                unit = "B" if field.name == "max_peak_memory" else ""
                found[LIMITED[field.name]] = parse_amount(written, field=field.name, unit=unit)
        return found

    def described(self) -> str:
        """The limits that are given, as they were written: ``max_params=3M, max_latency=9ms``."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)

    def excess(self, figures: Figures) -> dict[str, Any]:
        """By how much of a limit each limited figure is above it; 0 or less is within.

        Figures may be arrays, and the excess of each is one then.
        """
        return {name: figures[name] / limit - 1 for name, limit in self.amounts().items()}
