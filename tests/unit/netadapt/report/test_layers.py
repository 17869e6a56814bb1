"""The layers' comparison: blocks that are narrowed, changed and left out, of every family."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from latency.context import walk_in_context
from latency.keys import block_key, boundary_key
from latency.reach import Step
from latency.table import LatencyTable
from nas.report.network import Layer
from netadapt.changes import ProposalKind
from netadapt.proposals import ProposalSettings, propose, steps_to_propose
from netadapt.report.layers import LayerChange, compare_layers, layers_csv
from netadapt.report.steps import StepRecord, origins
from search_spaces import Architecture, load_seed
from search_spaces.blocks import ClassifierHead, ConvNormAct, Pool, PoolKind, ShuffleV1Unit


def test_each_block_stands_beside_what_became_of_it(layers: list[LayerChange]) -> None:
    assert [layer.block for layer in layers] == [0, 1, 2, 3, 4, 5, 6]
    assert [layer.became for layer in layers] == [0, 1, 2, None, None, 3, 4]
    assert [layer.is_changed for layer in layers] == [False, False, True, True, True, True, True]
    assert layers[0].type == "conv_norm_act"
    assert (layers[1].type, layers[1].before) == ("depthwise_separable", Layer(out=24, kernel=3))
    assert (layers[2].before.inside, layers[2].after) == (
        72,
        Layer(inside=48, out=40, kernel=3),
    )
    assert layers[3].before == Layer(inside=80, out=40, kernel=3)
    assert layers[3].after is None
    assert layers[5].before == Layer(
        inside=96, out=40, squeeze_excite=24, gate="hard_sigmoid", kernel=5
    )
    assert layers[5].after == Layer(inside=96, out=40, kernel=3)
    assert (layers[6].before, layers[6].after) == (
        Layer(inside=128, out=10),
        Layer(inside=64, out=10),
    )
    assert [str(layer.output) for layer in layers][-3:] == ["40x8x8", "40x8x8", "10x1x1"]
    assert layers[2].pair("inside") == (72, 48)
    assert layers[4].pair("inside") == (88, None)


def test_blocks_of_shufflenets_and_pools_have_their_widths() -> None:
    v2 = load_seed("shufflenet_v2_x1_0", resolution=32)
    rows = compare_layers(v2, v2, range(len(v2.blocks)), None)
    # ShuffleNetV2, Table 5: 24 channels, a pool, and 116 in stage 2, of which half in a branch.
    assert [rows[index].type for index in (0, 1, 2)] == [
        "conv_norm_act",
        "pool",
        "shuffle_v2_unit",
    ]
    assert [rows[index].before for index in (0, 1, 2)] == [
        Layer(out=24, kernel=3),
        Layer(kernel=3),
        Layer(inside=58, out=116, kernel=3),
    ]
    assert not any(row.is_changed for row in rows)

    v1 = Architecture(
        name="v1",
        resolution=16,
        blocks=(
            ConvNormAct(out_channels=24, kernel=3),
            Pool(kind=PoolKind.MAX, kernel=3),
            ShuffleV1Unit(
                bottleneck_channels=12, out_channels=24, groups=3, input_groups=3, kernel=3
            ),
            ClassifierHead(num_classes=10),
        ),
    )
    rows = compare_layers(v1, v1, range(4), None)
    assert rows[2].before == Layer(inside=12, out=24, kernel=3)
    assert rows[3].before == Layer(out=10)


def test_blocks_that_proposals_leave_out_are_followed(
    table_of: Callable[[list[Step]], LatencyTable],
) -> None:
    """With an expansion of its own each, a block is known by it, wherever it has gone."""
    seed = load_seed("mobilenet_v2", resolution=32)
    blocks = [
        replace(block, expanded_channels=100 + index)
        if hasattr(block, "expanded_channels")
        else block
        for index, block in enumerate(seed.blocks)
    ]
    seed = replace(seed, blocks=tuple(blocks))
    settings = ProposalSettings(kinds=(ProposalKind.DEPTH,))
    network, steps = seed, []
    for position in (4, 0, -1, 2):
        proposals = propose(network, table_of(steps_to_propose(network, settings)), 1e-6, settings)
        taken = proposals[position]
        figures = dict.fromkeys(("accuracy", "saved_ms", "predicted_ms", "measured_ms"), 1.0)
        steps.append(
            StepRecord(
                change=taken.change,
                sources=taken.sources,
                interval=0.0,
                proposals=1,
                infeasible=0,
                **figures,
            )
        )
        network = taken.architecture
    rows = compare_layers(seed, network, origins(steps, len(seed.blocks)), None)
    assert [row.became for row in rows].count(None) == 4
    assert [row.became for row in rows if row.after] == list(range(len(network.blocks)))
    assert all(row.after in (None, row.before) for row in rows)


def test_predictions_are_those_of_single_blocks(
    layers: list[LayerChange], make_table: Callable[..., LatencyTable]
) -> None:
    assert {layer.predicted_before_ms for layer in layers} == {None}
    network = load_seed("mobilenet_v3_small", resolution=32)
    latencies_ms = {}
    for number, (block, shape, after) in enumerate(walk_in_context(network)):
        latencies_ms[block_key(block, shape, after)] = 1.0 + number
        if number:
            latencies_ms[boundary_key(shape, after)] = 0.25
    # What is not in the table is skipped, and nothing else.
    missing = block_key(*walk_in_context(network)[3])
    del latencies_ms[missing]
    rows = compare_layers(network, network, range(len(network.blocks)), make_table(latencies_ms))
    assert rows[0].predicted_before_ms == pytest.approx(1.0)
    assert rows[2].predicted_before_ms == rows[2].predicted_after_ms == pytest.approx(2.75)
    assert (rows[3].predicted_before_ms, rows[3].predicted_after_ms) == (None, None)
    assert rows[4].predicted_before_ms == pytest.approx(4.75)


def test_every_figure_is_in_the_file(layers: list[LayerChange]) -> None:
    rows = list(csv.DictReader(io.StringIO(layers_csv(layers).decode())))
    assert len(rows) == 7
    assert rows[2] == {
        "block": "2", "became": "2", "type": "inverted_residual", "output": "40x8x8",
        "inside_before": "72", "inside_after": "48", "out_before": "40", "out_after": "40",
        "squeeze_excite_before": "", "squeeze_excite_after": "",
        "gate_before": "", "gate_after": "", "kernel_before": "3", "kernel_after": "3",
        "predicted_before_ms": "", "predicted_after_ms": "",
    }  # fmt: skip
    assert (rows[3]["became"], rows[3]["inside_before"], rows[3]["inside_after"]) == ("", "80", "")
    assert (rows[5]["became"], rows[5]["gate_before"], rows[5]["gate_after"]) == (
        "3",
        "hard_sigmoid",
        "",
    )
