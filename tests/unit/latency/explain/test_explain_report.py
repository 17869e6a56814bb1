"""Explanations as text and as pictures: totals, alignment, differences, verdicts."""

from dataclasses import replace

import pytest

from latency.explain.claims import Claim, Finding
from latency.explain.figure import COLOURS, draw_explanations
from latency.explain.network import BlockShare, Explanation, KindShare
from latency.explain.report import claim_lines, comparison_lines, network_lines
from latency.explain.trace import OpKind, TracedNode
from search_spaces.seeds import load_seed
from search_spaces.shapes import TensorShape


def share(index: int, stage: int, kind: OpKind, traced_ms: float) -> BlockShare:
    return BlockShare(
        index=index,
        description=f"block {index}",
        stage=stage,
        output_shape=TensorShape(8, 4, 4),
        madds=2_000_000,
        params=1500,
        predicted_ms=1.0,
        kinds_ms={kind: traced_ms},
    )


def node(kind: OpKind, latency_ms: float, block: int | None) -> TracedNode:
    return TracedNode(name="n", operator="o", block=block, kind=kind, latency_ms=latency_ms)


FIRST = Explanation(
    name="first",
    resolution=32,
    latency_ms=3.5,
    interval=0.012,
    blocks=(share(0, 1, OpKind.DENSE, 1.0), share(1, 2, OpKind.LINEAR, 2.0)),
    kinds=(
        KindShare(kind=OpKind.DENSE, traced_ms=1.0, madds=2_000_000),
        KindShare(kind=OpKind.LINEAR, traced_ms=2.0, madds=2_000_000),
    ),
    nodes=(node(OpKind.DENSE, 1.0, 0), node(OpKind.LINEAR, 2.0, 1)),
)
SECOND = replace(
    FIRST,
    name="second",
    blocks=(share(0, 1, OpKind.POOLING, 0.5), *FIRST.blocks),
    kinds=(*FIRST.kinds, KindShare(kind=OpKind.POOLING, traced_ms=0.5, madds=0)),
    nodes=(node(OpKind.POOLING, 0.5, None), *FIRST.nodes),
)


def words(lines: list[str], start: str) -> list[list[str]]:
    return [line.split() for line in lines if line.split()[:1] == [start]]


def test_a_network_says_what_it_takes_and_where() -> None:
    lines = network_lines(FIRST)
    assert lines[0] == (
        "first at 32x32: predicted 2.00 ms, measured 3.50 ms ±1.2% end to end; nodes 3.00 ms, "
        "between them +0.50 ms"
    )
    assert words(lines, "0") == [
        ["0", "block", "0", "8x4x4", "2.00", "1.5", "1.000", "50.0", "1.000", "33.3"]
    ]
    assert words(lines, "linear") == [["linear", "2.000", "66.7", "2.00", "50.0", "1.0"]]
    assert words(lines, "total") == [
        ["total", "4.00", "3.0", "2.000", "3.000"],
        ["total", "3.000", "4.00", "1.3"],
    ]


def test_time_in_no_block_has_a_line_of_its_own() -> None:
    assert not words(network_lines(FIRST), "in")
    assert words(network_lines(SECOND), "in") == [["in", "no", "block", "0.500", "14.3"]]


def test_two_networks_stand_side_by_side() -> None:
    lines = comparison_lines(FIRST, SECOND)
    assert words(lines, "pooling") == [["pooling", "-", "0.500", "+0.500"]]
    assert words(lines, "linear") == [["linear", "2.000", "2.000", "+0.000"]]
    assert words(lines, "total") == [["total", "3.000", "3.500", "+0.500"]] * 2


def test_a_claim_stands_under_what_is_compared() -> None:
    large = load_seed("mobilenet_v3_large")
    stem = load_seed("mobilenet_v3_large_stem32")
    claim = Claim(
        title="stem", source="a paper", published="-2 ms", network=large, baseline=stem, at_most=0.0
    )
    found = Finding(
        claim=claim,
        measured_ms=(9.0, 10.0),
        predicted_ms=(9.5, 10.0),
        interval_ms=0.2,
        madds_change=-10_400_000,
    )
    _, heading, line, *_ = claim_lines([found])
    assert heading == "stem (a paper), against …_stem32"
    assert line.split() == [
        "mobilenet_v3_large", "-2", "ms", "-10.4", "9.00", "|", "10.00", "-1.00", "±", "0.20",
        "-10.0%", "±", "2.0%", "-0.50", "-5.0%", "holds",
    ]  # fmt: skip


@pytest.mark.parametrize("explanations", [[FIRST], [FIRST, SECOND]])
def test_pictures_are_png(explanations: list[Explanation]) -> None:
    assert draw_explanations(explanations).startswith(b"\x89PNG")


def test_every_kind_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(OpKind)
    assert len(set(COLOURS.values())) == len(OpKind)
