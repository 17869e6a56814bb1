"""The rule: what speeds bear a guideline out, what refutes it, and what leaves it open."""

import pytest

from latency.guideline_graphs import GUIDELINES, Guideline
from latency.guideline_verdict import Outcome, Speed, Speeds, judge
from latency.guidelines import paper_speeds

G1, G2, G3, G4 = GUIDELINES


def g1_speeds(*relative: float, interval: float = 0.01, last: float | None = None) -> Speeds:
    """Speeds of 1:1, 1:2, 1:6 and 1:12, equal in all columns; ``last`` is of 1:12 at ×4."""
    speeds = {
        label: [Speed(per_second=value, interval=interval)] * 3
        for label, value in zip(("1:1", "1:2", "1:6", "1:12"), relative, strict=True)
    }
    if last is not None:
        speeds["1:12"][2] = Speed(per_second=last, interval=interval)
    return speeds


@pytest.mark.parametrize("guideline", GUIDELINES, ids=lambda guideline: guideline.name)
def test_the_paper_bears_itself_out_but_for_fragments_in_series_on_its_cpu(
    guideline: Guideline,
) -> None:
    assert judge(guideline, paper_speeds(guideline, "gpu")).outcome is Outcome.HOLDS
    verdict = judge(guideline, paper_speeds(guideline, "cpu"))
    if guideline is G3:
        # "The speed reduction on ARM is relatively small", as the paper says of table 3.
        assert verdict.outcome is Outcome.DOES_NOT_HOLD
        assert [reason.split()[0] for reason in verdict.reasons] == ["4-fragment-series"]
    else:
        assert verdict.outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("speeds", "outcome", "reason"),
    [
        (
            g1_speeds(100, 95, 80, 60),
            Outcome.HOLDS,
            "1:12 has 0.60 (±1.4%) of the speed of 1:1 at ×1, ×2, ×4",
        ),
        (
            g1_speeds(100, 95, 80, 60, last=70),
            Outcome.HOLDS,
            "1:12 has 0.60 to 0.70 (±1.4%) of the speed of 1:1 at ×1, ×2, ×4",
        ),
        (
            g1_speeds(100, 95, 80, 60, last=94.5),
            Outcome.UNDECIDED,
            "1:12 has 0.94 (±1.4%) of the speed of 1:1 at ×4",
        ),
        (
            g1_speeds(100, 95, 80, 60, last=99),
            Outcome.DOES_NOT_HOLD,
            "1:12 has 0.99 (±1.4%) of the speed of 1:1 at ×4",
        ),
        (
            g1_speeds(100, 120, 80, 60),
            Outcome.DOES_NOT_HOLD,
            "1:2 has 1.20 (±1.4%) of the speed of 1:1 at ×1, ×2, ×4",
        ),
        (
            g1_speeds(100, 95, 80, 60, interval=0.5),
            Outcome.UNDECIDED,
            "1:12 has 0.60 (±70.7%) of the speed of 1:1 at ×1, ×2, ×4",
        ),
    ],
)
def test_what_decides(speeds: Speeds, outcome: Outcome, reason: str) -> None:
    verdict = judge(G1, speeds)
    assert (verdict.outcome, verdict.reasons) == (outcome, (reason,))
    assert str(verdict) == f"{outcome}: {reason}"


def test_a_row_that_is_faster_within_5_percent_refutes_nothing() -> None:
    assert judge(G1, g1_speeds(100, 104, 80, 60, interval=0.001)).outcome is Outcome.HOLDS


def test_neighbours_out_of_order_are_named_without_changing_the_outcome() -> None:
    verdict = judge(G1, g1_speeds(100, 70, 90, 60, interval=0.0))
    assert verdict.outcome is Outcome.HOLDS
    assert verdict.out_of_order == ("1:6 has 1.29 of the speed of 1:2 at ×1, ×2, ×4",)
    assert judge(G1, g1_speeds(100, 70, 73, 60, interval=0.01)).out_of_order == ()


def test_every_path_of_a_guideline_counts() -> None:
    speeds = dict(paper_speeds(G4, "cpu"))
    speeds["shortcut only"] = tuple(Speed(per_second=100.0) for _ in range(3))
    verdict = judge(G4, speeds)
    assert verdict.outcome is Outcome.DOES_NOT_HOLD
    assert "shortcut only has 1.51 to 18.52 of the speed of neither" in str(verdict)
