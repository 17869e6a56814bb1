"""Whether speeds bear a guideline out.

Along each of a guideline's paths, in each of its three columns, the row that it advises against
most is compared with the row that it advises. A difference of less than 5 % is not worth following
a guideline for, and a difference counts where the 95 % interval of the two speeds' ratio is clear
of that limit. The guideline

- *does not hold* where on some path in some column the last row is certainly less than 5 % slower
  than the first, or any other row certainly more than 5 % faster;
- *holds* where on every path in every column the last row is certainly at least 5 % slower;
- is *undecided* otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from latency.guideline_graphs import SCALES, Guideline

DIFFERENCE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A speed over another; ``interval`` is half its 95 % interval, relative to it."""

    value: float
    interval: float

    @property
    def low(self) -> float:
        return self.value * (1 - self.interval)

    @property
    def high(self) -> float:
        return self.value * (1 + self.interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Runs a second; ``interval`` is half the 95 % interval, relative to it."""

    per_second: float
    interval: float = 0.0

    def over(self, other: "Speed") -> Ratio:
        """This speed relative to another; exact relative to itself."""
        interval = 0.0 if self is other else (self.interval**2 + other.interval**2) ** 0.5
        return Ratio(value=self.per_second / other.per_second, interval=interval)


Speeds = Mapping[str, Sequence[Speed]]
"""By row, a speed for each of ``SCALES``."""


class Outcome(StrEnum):
    HOLDS = "holds"
    DOES_NOT_HOLD = "does not hold"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome with the figures behind it.

    ``out_of_order`` names neighbours on a path where the later one is certainly more than 5 %
    faster, and the guideline says that it is slower.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    out_of_order: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.outcome}: {'; '.join(self.reasons)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """How ``row`` compares with ``other`` in a column, and what follows from it."""

    outcome: Outcome
    row: str
    other: str
    scale: int
    ratio: Ratio


def judge(guideline: Guideline, speeds: Speeds) -> Verdict:
    """Apply the rule that stands at the top of this file."""
    findings = [
        _finding(path, {row: speeds[row][column] for row in path}, scale)
        for path in guideline.paths
        for column, scale in enumerate(SCALES)
    ]
    outcomes = {finding.outcome for finding in findings}
    outcome = next(
        outcome
        for outcome in (Outcome.DOES_NOT_HOLD, Outcome.UNDECIDED, Outcome.HOLDS)
        if outcome in outcomes
    )
    return Verdict(
        outcome=outcome,
        reasons=_sentences([finding for finding in findings if finding.outcome is outcome]),
        out_of_order=_sentences(_rises(guideline, speeds)),
    )


def _finding(path: Sequence[str], speeds: Mapping[str, Speed], scale: int) -> _Finding:
    advised = path[0]
    ratios = {row: speeds[row].over(speeds[advised]) for row in path[1:]}
    row = max(ratios, key=lambda row: ratios[row].low)
    if ratios[row].low > 1 + DIFFERENCE:
        outcome = Outcome.DOES_NOT_HOLD
    else:
        row = path[-1]
        outcome = _outcome(ratios[row])
    return _Finding(outcome=outcome, row=row, other=advised, scale=scale, ratio=ratios[row])


def _outcome(ratio: Ratio) -> Outcome:
    limit = 1 - DIFFERENCE
    if ratio.high <= limit:
        return Outcome.HOLDS
    return Outcome.DOES_NOT_HOLD if ratio.low > limit else Outcome.UNDECIDED


def _rises(guideline: Guideline, speeds: Speeds) -> list[_Finding]:
    return [
        _Finding(outcome=Outcome.DOES_NOT_HOLD, row=row, other=other, scale=scale, ratio=ratio)
        for path in guideline.paths
        for other, row in pairwise(path)
        for column, scale in enumerate(SCALES)
        if (ratio := speeds[row][column].over(speeds[other][column])).low > 1 + DIFFERENCE
    ]


def _sentences(findings: Sequence[_Finding]) -> tuple[str, ...]:
    """A sentence for every pair of rows, over all columns."""
    pairs: dict[tuple[str, str], dict[int, Ratio]] = {}
    for finding in findings:
        pairs.setdefault((finding.row, finding.other), {})[finding.scale] = finding.ratio
    return tuple(_sentence(row, other, ratios) for (row, other), ratios in pairs.items())


def _sentence(row: str, other: str, ratios: Mapping[int, Ratio]) -> str:
    values = [ratio.value for ratio in ratios.values()]
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    span = low if low == high else f"{low} to {high}"
    interval = max(ratio.interval for ratio in ratios.values())
    accuracy = f" (±{interval:.1%})" if interval else ""
    where = ", ".join(f"×{scale}" for scale in ratios)
    return f"{row} has {span}{accuracy} of the speed of {other} at {where}"
