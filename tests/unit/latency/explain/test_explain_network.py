"""Explanations of small networks whose every figure is known."""

import json
from collections.abc import Callable

import pytest

from latency.context import After
from latency.explain.network import (
    Explanation,
    KindShare,
    aligned,
    describe_block,
    explain_network,
)
from latency.explain.trace import OpKind
from latency.keys import block_key, boundary_key, network_key
from latency.plan import steps_of
from latency.table import Entry, LatencyTable, MissingEntryError
from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    PoolKind,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)

STEM = ConvNormAct(out_channels=8, kernel=3, stride=2)
NETWORK = Architecture(name="two", blocks=(STEM, ClassifierHead(num_classes=10)), resolution=8)
TRACE = (
    ("blocks.0.unit.conv_nchwc", "Conv", 0.5),
    ("ReorderOutput", "ReorderOutput", 0.25),
    ("blocks.1.pool", "GlobalAveragePool", 0.125),
    ("blocks.1.classifier", "Gemm", 0.125),
)
MakeTable = Callable[..., LatencyTable]


def traced(network: Architecture, ops: tuple[tuple[str, str, float], ...] = TRACE) -> Entry:
    figures = {"latency_ms": 9.0, "median_ms": 9.0, "interval": 0.0, "drift": 1.0}
    return Entry(key=network_key(network), rounds=1, runs=12, reference_ms=1.0, ops=ops, **figures)


def known_table(make_table: MakeTable, *networks: Architecture) -> LatencyTable:
    """First blocks take 0.75 ms, others 0.5 ms; networks 1.25 ms, end to end."""
    latencies_ms = {}
    for block, shape, after in steps_of(networks):
        latencies_ms[block_key(block, shape, after)] = 0.75
        if after is not After.IMAGE:
            latencies_ms[boundary_key(shape, after)] = 0.25
    return make_table(latencies_ms | {network_key(network): 1.25 for network in networks})


@pytest.fixture
def explanation(make_table: MakeTable) -> Explanation:
    return explain_network(NETWORK, known_table(make_table, NETWORK), traced(NETWORK))


def test_times_come_from_the_table_and_from_the_trace(explanation: Explanation) -> None:
    assert explanation.latency_ms == pytest.approx(1.25)
    assert explanation.predicted_ms == pytest.approx(1.25)
    assert explanation.traced_ms == 1.0
    assert explanation.between_nodes_ms == pytest.approx(0.25)
    assert [block.predicted_ms for block in explanation.blocks] == pytest.approx([0.75, 0.5])
    assert [block.traced_ms for block in explanation.blocks] == [0.75, 0.25]
    assert explanation.blocks[0].kinds_ms == {OpKind.DENSE: 0.5, OpKind.LAYOUT: 0.25}


def test_kinds_sum_to_the_trace_and_to_the_madds(explanation: Explanation) -> None:
    assert {kind.kind: kind.traced_ms for kind in explanation.kinds} == {
        OpKind.DENSE: 0.5,
        OpKind.POOLING: 0.125,
        OpKind.LINEAR: 0.125,
        OpKind.LAYOUT: 0.25,
    }
    assert sum(kind.madds for kind in explanation.kinds) == explanation.madds
    dense = explanation.kinds[0]
    assert dense.madds == 3 * 3 * 3 * 8 * 4 * 4
    assert dense.gmadds_per_second == pytest.approx(3456 / 0.5e-3 / 1e9)


@pytest.mark.parametrize("times_and_madds", [(0.0, 10), (1.0, 0)])
def test_no_speed_without_madds_or_time(times_and_madds: tuple[float, int]) -> None:
    traced_ms, madds = times_and_madds
    share = KindShare(kind=OpKind.LINEAR, traced_ms=traced_ms, madds=madds)
    assert share.gmadds_per_second is None


def test_the_record_holds_every_number(explanation: Explanation) -> None:
    record = json.loads(json.dumps(explanation.record(), allow_nan=False))
    for column in ("predicted_share", "traced_share"):
        assert sum(block[column] for block in record["blocks"]) == pytest.approx(1.0)
    for column in ("traced_share", "madds_share"):
        assert sum(kind[column] for kind in record["kinds"]) == pytest.approx(1.0)
    assert [node["name"] for node in record["nodes"]] == [name for name, *_ in TRACE]
    assert record["blocks"][1]["output_shape"] == "10x1x1"


def test_a_device_without_times_of_nodes_is_named(make_table: MakeTable) -> None:
    with pytest.raises(ValueError, match="no times of the nodes of two; give one whose runtime"):
        explain_network(NETWORK, known_table(make_table, NETWORK), traced(NETWORK, ops=()))


def test_a_network_that_was_not_measured_is_named(make_table: MakeTable) -> None:
    with pytest.raises(MissingEntryError, match="Network"):
        explain_network(NETWORK, make_table({"a": 1.0}), traced(NETWORK))


def test_blocks_are_aligned_stage_by_stage_and_heads_with_heads(make_table: MakeTable) -> None:
    same, head = ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=10)
    deep = Architecture(name="deep", blocks=(STEM, same, same, STEM, head), resolution=16)
    flat = Architecture(name="flat", blocks=(same, STEM, STEM, same, STEM, head), resolution=32)
    table = known_table(make_table, deep, flat)
    first, second = (explain_network(network, table, traced(network)) for network in (deep, flat))
    pairs = [
        tuple(None if block is None else block.index for block in pair)
        for pair in aligned(first, second)
    ]
    assert pairs == [(None, 0), (0, 1), (1, None), (2, None), (3, 2), (None, 3), (None, 4), (4, 5)]


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (STEM, "conv 3x3 /2"),
        (DepthwiseSeparable(out_channels=8, kernel=3, skip=Skip.POOL), "separable 3x3, pooled"),
        (
            InvertedResidual(
                expanded_channels=72, out_channels=40, kernel=5, stride=2,
                squeeze_excite=SqueezeExcite(channels=24),
            ),
            "bneck 5x5 /2, 72, SE 24",
        ),
        (
            InvertedResidual(
                expanded_channels=72, out_channels=24, kernel=3, skip=Skip.IDENTITY
            ),
            "bneck 3x3, 72, skip",
        ),
        (
            ShuffleV1Unit(bottleneck_channels=60, out_channels=240, groups=3, input_groups=1),
            "shuffle v1 3x3, 60, g 3",
        ),
        (
            ShuffleV2Unit(branch_channels=58, out_channels=116, stride=2),
            "shuffle v2 3x3 /2, 58",
        ),
        (Pool(kind=PoolKind.MAX, kernel=3, stride=2), "max pool 3x3 /2"),
        (ClassifierHead(), "head"),
        (ClassifierHead(hidden_channels=1280), "head, 1280"),
    ],
)  # fmt: skip
def test_short_forms(block: Block, text: str) -> None:
    assert describe_block(block) == text
