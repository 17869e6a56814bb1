"""The nodes of a trace: each has its block and its kind, and none is lost."""

import pytest

from latency.explain.trace import OpKind, TracedNode, madds_by_kind, traced_nodes
from search_spaces.costs import count_costs
from search_spaces.seeds import load_seed, seed_names

LARGE = load_seed("mobilenet_v3_large")

# As onnxruntime names them on x86, in the order of their execution.
TRACE_OF_LARGE = [
    ("blocks.0.unit.conv_nchwc", "Conv", 0, OpKind.DENSE),
    ("blocks.1.depthwise.activation_nchwc", "Conv", 1, OpKind.DEPTHWISE),
    ("blocks.1.pointwise.conv_nchwc", "Conv", 1, OpKind.POINTWISE),
    ("blocks.4.expand.activation_nchwc", "Conv", 4, OpKind.POINTWISE),
    ("blocks.4.depthwise.activation_nchwc", "Conv", 4, OpKind.DEPTHWISE),
    ("ReorderOutput_token_208", "ReorderOutput", 4, OpKind.LAYOUT),
    ("blocks.4.squeeze_excite.pool", "GlobalAveragePool", 4, OpKind.SQUEEZE_EXCITE),
    ("ReorderInput", "ReorderInput", 4, OpKind.LAYOUT),
    ("blocks.4.squeeze_excite.activation_nchwc", "Conv", 4, OpKind.SQUEEZE_EXCITE),
    ("blocks.4.squeeze_excite.gate_nchwc", "Conv", 4, OpKind.SQUEEZE_EXCITE),
    ("blocks.4.squeeze_excite.multiply", "Mul", 4, OpKind.SQUEEZE_EXCITE),
    ("ReorderInput_token_57", "ReorderInput", 4, OpKind.LAYOUT),
    ("blocks.4.project.conv_nchwc", "Conv", 4, OpKind.POINTWISE),
    ("blocks.12.project.conv_nchwc", "Conv", 12, OpKind.POINTWISE),
    ("blocks.17.pool_nchwc", "GlobalAveragePool", 17, OpKind.POOLING),
    ("ReorderOutput_token_205", "ReorderOutput", 17, OpKind.LAYOUT),
    ("blocks.17.hidden.flatten", "Flatten", 17, OpKind.LINEAR),
    ("blocks.17.hidden", "Gemm", 17, OpKind.LINEAR),
    ("HardSigmoid_180", "HardSigmoid", 17, OpKind.ACTIVATION),
    ("Mul_181", "Mul", 17, OpKind.ACTIVATION),
    ("blocks.17.classifier", "Gemm", 17, OpKind.LINEAR),
]


def nodes_of(network: str, *nodes: tuple[str, str]) -> list[TracedNode]:
    return traced_nodes(load_seed(network), [(name, operator, 0.5) for name, operator in nodes])


def test_fused_and_inserted_nodes_find_their_block_and_kind() -> None:
    nodes = traced_nodes(LARGE, [(name, operator, 0.5) for name, operator, *_ in TRACE_OF_LARGE])
    found = [(node.name, node.operator, node.block, node.kind) for node in nodes]
    assert found == TRACE_OF_LARGE


@pytest.mark.parametrize(
    ("network", "name", "operator", "kind"),
    [
        ("mobilenet_v3_large", "fused blocks.17.hidden", "FusedGemm", OpKind.LINEAR),
        ("mobilenet_v3_large", "blocks.3.add", "FusedConv", OpKind.POINTWISE),
        ("mobilenet_v3_large", "blocks.3.add", "Add", OpKind.ELEMENTWISE),
        ("mobilenet_v3_large", "blocks.3.expand.conv_quant", "QLinearConv", OpKind.POINTWISE),
        (
            "mobilenet_v3_large", "blocks.3.expand.conv_QuantizeLinear", "QuantizeLinear",
            OpKind.CONVERSION,
        ),
        (
            "mobilenet_v3_large", "blocks.7.expand.activation/QuickGeluFusion/", "QuickGelu",
            OpKind.ACTIVATION,
        ),
        ("mobilenet_v3_large", "blocks.7.expand.conv_transposed", "Transpose", OpKind.LAYOUT),
        ("shufflenet_v2_x1_0", "blocks.8.shuffle.swap", "Transpose", OpKind.SHUFFLE),
        ("shufflenet_v2_x1_0", "blocks.8.concat", "Concat", OpKind.SHUFFLE),
        (
            "shufflenet_v2_x1_0", "blocks.9.split_right/GatherSliceToSplitFusion", "Split",
            OpKind.SHUFFLE,
        ),
        ("shufflenet_v1_g3", "blocks.3.reduce.conv", "FusedConv", OpKind.GROUPED),
        ("shufflenet_v1_g3", "blocks.3.activation", "Relu", OpKind.ACTIVATION),
        ("shufflenet_v1_g3", "blocks.2.skip_pool_nchwc", "AveragePool", OpKind.POOLING),
        ("mobilenet_v1", "Transpose_token_3", "Transpose", OpKind.LAYOUT),
        ("mobilenet_v1", "some_kernel", "FancyNewOperator", OpKind.OTHER),
    ],
)  # fmt: skip
def test_kinds(network: str, name: str, operator: str, kind: OpKind) -> None:
    (node,) = nodes_of(network, (name, operator))
    assert node.kind is kind


def test_what_brings_an_input_into_another_layout_belongs_to_its_reader() -> None:
    nodes = nodes_of(
        "shufflenet_v2_x1_0",
        ("blocks.13.shuffle", "Reshape"),
        ("ReorderOutput_token_3", "ReorderOutput"),
        ("ReorderInput_token_121", "ReorderInput"),
        ("blocks.14.reduce.activation_nchwc", "Conv"),
    )
    assert [node.block for node in nodes] == [13, 13, 14, 14]


def test_what_is_unnamed_within_squeeze_excite_belongs_to_it() -> None:
    nodes = nodes_of(
        "mobilenet_v3_large",
        ("blocks.4.squeeze_excite.expand_nchwc", "Conv"),
        ("HardSigmoid_9", "HardSigmoid"),
        ("ReorderOutput_token_9", "ReorderOutput"),
        ("blocks.4.squeeze_excite.multiply", "Mul"),
    )
    expected = [OpKind.SQUEEZE_EXCITE, OpKind.SQUEEZE_EXCITE, OpKind.LAYOUT, OpKind.SQUEEZE_EXCITE]
    assert [node.kind for node in nodes] == expected


def test_a_trace_without_any_name_of_ours_is_kept() -> None:
    nodes = nodes_of("mobilenet_v1", ("kernel_1", "Conv"), ("ReorderOutput", "ReorderOutput"))
    assert [node.block for node in nodes] == [None, None]
    assert [node.kind for node in nodes] == [OpKind.OTHER, OpKind.LAYOUT]
    assert sum(node.latency_ms for node in nodes) == 1.0


@pytest.mark.parametrize("name", seed_names())
def test_madds_by_kind_are_all_the_madds(name: str) -> None:
    network = load_seed(name)
    assert sum(madds_by_kind(network).values()) == count_costs(network).madds


def test_pointwise_layers_do_most_of_mobilenet_v1() -> None:
    # MobileNets, Table 2: 94.86 % of the MAdds in 1×1, 3.06 % in depthwise, 0.18 % in linear.
    madds = madds_by_kind(load_seed("mobilenet_v1"))
    total = sum(madds.values())
    assert round(100 * madds[OpKind.POINTWISE] / total, 1) == pytest.approx(94.86, abs=0.1)
    assert round(100 * madds[OpKind.DEPTHWISE] / total, 1) == pytest.approx(3.06, abs=0.1)
    assert round(100 * madds[OpKind.LINEAR] / total, 1) == pytest.approx(0.18, abs=0.1)
