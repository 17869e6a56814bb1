"""The guideline experiments: equal MAdds in a table, and networks as the paper describes them."""

import numpy as np
import onnxruntime
import pytest

from latency.guideline_graphs import (
    GUIDELINES,
    PLATFORMS,
    SCALES,
    Bottlenecks,
    Fragments,
    Guideline,
    PointwisePairs,
    Row,
    Unit,
    unit_between_stubs,
    unit_madds,
)
from search_spaces.onnx_graph import build_blocks_onnx
from search_spaces.ops import Activate, Add, Conv, Op

ROWS = [(guideline, row) for guideline in GUIDELINES for row in guideline.rows]
IDS = [f"{guideline.name} {row.label}" for guideline, row in ROWS]
G1, G2, G3, G4 = GUIDELINES


def block_ops(unit: Unit) -> tuple[Op, ...]:
    """The operations between the stubs."""
    _, chain, _ = unit_between_stubs(unit)
    return chain.ops


@pytest.mark.parametrize(
    ("unit", "madds"),
    [
        (PointwisePairs(first=32, second=32), 10 * 2 * 32 * 32 * 56 * 56),
        (PointwisePairs(first=64, second=64, pairs=5), 10 * 64 * 64 * 56 * 56),
        (PointwisePairs(first=184, second=176, groups=8, pairs=5), 10 * 23 * 176 * 56 * 56),
        (Fragments(channels=45, count=2), 10 * 2 * 45 * 45 * 56 * 56),
        (Fragments(channels=32, count=4, parallel=True), 10 * 4 * 32 * 32 * 56 * 56),
        (
            Bottlenecks(channels=32, relu=True, shortcut=True),
            10 * (32 * 8 + 9 * 8 * 8 + 8 * 32) * 56 * 56,
        ),
    ],
)
def test_madds_are_those_of_a_count_by_hand(unit: Unit, madds: int) -> None:
    assert unit_madds(unit) == madds


@pytest.mark.parametrize(("guideline", "row"), ROWS, ids=IDS)
def test_rows_have_the_madds_of_the_first_within_2_percent(guideline: Guideline, row: Row) -> None:
    for scale in SCALES:
        first = unit_madds(guideline.rows[0].unit.scaled(scale))
        assert unit_madds(row.unit.scaled(scale)) / first == pytest.approx(1, abs=0.02)
        assert first == scale**2 * unit_madds(guideline.rows[0].unit)


@pytest.mark.parametrize(("guideline", "row"), ROWS, ids=IDS)
def test_every_network_runs(guideline: Guideline, row: Row) -> None:
    model = build_blocks_onnx(row.label, unit_between_stubs(row.unit))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (result,) = session.run(None, {"input": np.ones((1, 4, 56, 56), np.float32)})
    assert result.shape == (1, row.unit.widths[0], 1, 1)


def test_the_papers_columns_are_multiples_of_widths() -> None:
    """Its table 3 names the widths; table 2's first row is the same network, and as fast."""
    g1, one_fragment = G2.rows[0], G3.rows[0]
    for column, (scale, channels) in enumerate(zip(SCALES, (64, 128, 256), strict=True)):
        assert one_fragment.unit.scaled(scale) == Fragments(channels=channels, count=1)
        assert block_ops(g1.unit.scaled(scale)) == block_ops(one_fragment.unit.scaled(scale))
        for platform in PLATFORMS:
            speeds = [guideline.paper(platform) for guideline in (G2, G3)]
            here, there = speeds[0]["g=1"][column], speeds[1]["1-fragment"][column]
            assert here == pytest.approx(there, rel=0.015)


def test_fragments_are_chained_or_read_one_map_and_are_added() -> None:
    series = block_ops(Fragments(channels=32, count=4))
    assert all(isinstance(op, Conv) for op in series)
    assert [op.inputs for op in series[1:]] == [(op.name,) for op in series[:-1]]
    parallel = block_ops(Fragments(channels=32, count=4, parallel=True))[:7]
    convs = [op for op in parallel if isinstance(op, Conv)]
    adds = [op for op in parallel if isinstance(op, Add)]
    assert (len(convs), len({op.inputs for op in convs})) == (4, 1)
    added = {name for op in adds for name in op.inputs}
    assert {op.name for op in convs} <= added
    assert len(adds) == 3


@pytest.mark.parametrize(("relu", "shortcut"), [(r, s) for r in (True, False) for s in (r, not r)])
def test_a_bottleneck_has_three_relus_and_a_shortcut_or_not(relu: bool, shortcut: bool) -> None:
    ops = block_ops(Bottlenecks(channels=64, relu=relu, shortcut=shortcut))
    convs = [op for op in ops if isinstance(op, Conv)]
    assert [(op.in_channels, op.kernel, op.output_shape.channels) for op in convs] == [
        (64, 1, 16),
        (16, 3, 16),
        (16, 1, 64),
    ] * 10
    adds = [op for op in ops if isinstance(op, Add)]
    assert sum(isinstance(op, Activate) for op in ops) == 30 * relu
    assert len(adds) == 10 * shortcut
    if shortcut:
        assert [add.inputs[1] for add in adds] == [conv.inputs[0] for conv in convs[::3]]


def test_groups_are_as_many_as_the_row_says() -> None:
    for row, groups in zip(G2.rows, (1, 2, 4, 8), strict=True):
        ops = block_ops(row.unit)
        assert len(ops) == 10
        assert {op.groups for op in ops if isinstance(op, Conv)} == {groups}


def test_keys_are_unique_and_readable() -> None:
    keys = [guideline.key(row, scale) for guideline, row in ROWS for scale in SCALES]
    assert len(set(keys)) == len(keys)
    assert "guideline G1 1:2 x2" in keys


def test_paths_lead_through_rows_that_the_paper_has() -> None:
    for guideline in GUIDELINES:
        for platform in PLATFORMS:
            assert {row for path in guideline.paths for row in path} == set(
                guideline.paper(platform)
            )
    assert "1:4 control" not in G1.paper("cpu")
    assert G4.paths[0][0] == "neither"
