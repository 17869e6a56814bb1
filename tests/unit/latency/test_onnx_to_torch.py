"""Graphs run by torch compute what onnxruntime computes, and what is not understood is refused."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from latency.context import After, between_stubs, boundary
from latency.onnx_to_torch import GraphError, TorchGraph
from latency.reach import reachable_steps
from search_spaces import load_seed, seed_names
from search_spaces.blocks import (
    GATES,
    Activation,
    Block,
    ConvNormAct,
    Pool,
    PoolKind,
    SqueezeExcite,
)
from search_spaces.lowering import LoweredBlock, lower, lower_block
from search_spaces.onnx_graph import WEIGHTS_FILE, build_weightless_onnx
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape
from search_spaces.spaces import (
    SearchSpace,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)

LAYOUTS = [torch.contiguous_format, torch.channels_last]
CHANNEL_FIELDS = {"expanded_channels", "out_channels", "num_classes", "hidden_channels"}


def weights_for(model: onnx.ModelProto, size_bytes: int) -> np.ndarray:
    """The file of weights, with values that neither fade nor grow from layer to layer."""
    content, rng = np.zeros(size_bytes // 4, np.float32), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {pair.key: int(pair.value) for pair in tensor.external_data[1:]}
            start, count = place["offset"] // 4, place["length"] // 4
            deviation = math.sqrt(2 / math.prod(tensor.dims[1:])) if len(tensor.dims) > 1 else 0.1
            content[start : start + count] = deviation * rng.standard_normal(count)
    return content.view(np.uint8)


def image_of(model: onnx.ModelProto) -> np.ndarray:
    shape = [axis.dim_value for axis in model.graph.input[0].type.tensor_type.shape.dim]
    # Large, so that what is cut off is reached on both sides.
    return 8 * np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def by_onnxruntime(
    model: onnx.ModelProto, weights: np.ndarray, image: np.ndarray, folder: Path
) -> np.ndarray:
    (folder / WEIGHTS_FILE).write_bytes(weights.tobytes())
    (folder / "graph.onnx").write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / "graph.onnx", options, providers=["CPUExecutionProvider"]
    )
    (output,) = session.run(None, {"input": image})
    return output


def by_torch(
    model: onnx.ModelProto, weights: np.ndarray, image: np.ndarray, layout: torch.memory_format
) -> np.ndarray:
    graph = TorchGraph(model.SerializeToString(), torch.from_numpy(weights), layout=layout)
    return graph(torch.from_numpy(image).to(memory_format=layout)).numpy()


def check_agreement(blocks: Sequence[LoweredBlock], folder: Path, batch: int = 1) -> None:
    model, size_bytes = build_weightless_onnx("graph", blocks, batch=batch)
    weights, image = weights_for(model, size_bytes), image_of(model)
    expected = by_onnxruntime(model, weights, image, folder)
    for layout in LAYOUTS:
        output = by_torch(model, weights, image, layout)
        assert output.shape == expected.shape
        assert np.abs(output - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", seed_names())
def test_seeds_give_the_logits_of_onnxruntime(name: str, batch: int, tmp_path: Path) -> None:
    check_agreement(lower(load_seed(name, resolution=32)), tmp_path, batch)


def kinds_of_steps(space: SearchSpace) -> list[tuple[Block, TensorShape, After]]:
    """One step of each kind; kinds differ in more than their numbers of channels."""
    kinds = {}
    for block, shape, after in reachable_steps(space):
        values = [
            bool(value) if field.name == "squeeze_excite" else value
            for field in fields(block)
            if field.name not in CHANNEL_FIELDS
            for value in [getattr(block, field.name)]
        ]
        kinds.setdefault((type(block), *values, after), (block, shape, after))
    return list(kinds.values())


@pytest.mark.parametrize("make_space", [mobilenet_v3_space, mnasnet_space, shufflenet_v2_space])
def test_blocks_between_stubs_agree(make_space: Callable[..., SearchSpace], tmp_path: Path) -> None:
    steps = kinds_of_steps(make_space(resolution=32, num_classes=10))
    assert len(steps) > 10
    for step in steps:
        for batch in (1, 2):
            check_agreement(between_stubs(*step), tmp_path, batch)


@pytest.mark.parametrize(
    "block",
    [
        *(
            ConvNormAct(out_channels=6, kernel=3, activation=which)
            for which in Activation
            if which not in GATES
        ),
        *(
            ConvNormAct(
                out_channels=6, kernel=1, squeeze_excite=SqueezeExcite(channels=4, gate=gate)
            )
            for gate in GATES
        ),
        *(Pool(kind=kind, kernel=3, stride=stride) for kind in PoolKind for stride in (1, 2)),
    ],
    ids=str,
)
def test_activations_and_pools_agree(block: Block, tmp_path: Path) -> None:
    check_agreement([lower_block(block, TensorShape(6, 9, 9))], tmp_path, batch=2)


@pytest.mark.parametrize("after", [After.CONV, After.PLAIN])
def test_boundaries_agree(after: After, tmp_path: Path) -> None:
    check_agreement(boundary(TensorShape(5, 7, 7), after), tmp_path)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_a_graph_of_float16_computes_in_float16(name: str, tmp_path: Path) -> None:
    blocks = lower(load_seed(name, resolution=32))
    model, size_bytes = build_weightless_onnx("graph", blocks, precision=Precision.FP16)
    single, _ = build_weightless_onnx("graph", blocks)
    weights, image = weights_for(single, size_bytes), image_of(single)
    expected = by_onnxruntime(single, weights, image, tmp_path)
    output = by_torch(model, weights, image, torch.channels_last)
    error = np.abs(output - expected).max() / np.abs(expected).max()
    assert output.dtype == np.float32
    assert 1e-6 < error < 2e-2


BLOCK = lower_block(ConvNormAct(out_channels=3, kernel=3), TensorShape(2, 4, 4))


def test_graphs_share_no_memory() -> None:
    model, size_bytes = build_weightless_onnx("graph", [BLOCK])
    weights, image = torch.from_numpy(weights_for(model, size_bytes)), torch.ones(1, 2, 4, 4)
    graph = TorchGraph(model.SerializeToString(), weights)
    before = graph(image)
    weights.zero_()
    assert torch.equal(graph(image), before)


def refused(model: onnx.ModelProto, match: str, weights: int = 4096) -> None:
    with pytest.raises(GraphError, match=match) as caught:
        TorchGraph(model.SerializeToString(), torch.zeros(weights, dtype=torch.uint8))
    assert "\n" not in str(caught.value)


def one_node(kind: str, *constants: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    names = [f"constant{index}" for index, _ in enumerate(constants)]
    domain = attributes.pop("domain", "")
    node = helper.make_node(kind, ["input", *names], ["output"], "node", domain=domain)
    node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
    edges = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("input", "output")
    ]
    tensors = [numpy_helper.from_array(c, n) for c, n in zip(constants, names, strict=True)]
    graph = helper.make_graph([node], "graph", edges[:1], edges[1:], tensors)
    return helper.make_model(graph)


WEIGHT, BIAS = np.zeros((2, 2, 3, 3), np.float32), np.zeros(2, np.float32)
CONV = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1], "group": 1}
POOL = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}


def test_what_is_used_in_the_refusals_is_understood_as_it_stands() -> None:
    for model in (one_node("Conv", WEIGHT, BIAS, **CONV), one_node("MaxPool", **POOL)):
        TorchGraph(model.SerializeToString(), torch.zeros(0, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (one_node("Softmax"), "Softmax 'node' is not understood; understood are Add, AveragePool"),
        (one_node("Relu", domain="com.x"), "com.x.Relu 'node' is not understood"),
        (one_node("Cast", to=TensorProto.INT8), "must be to float32 or float16"),
        (one_node("Relu", alpha=1.0), "has the attribute 'alpha'"),
        (one_node("HardSigmoid", alpha=0.2, beta=0.5), "has alpha 0.2.*understood is 0.1666"),
        (one_node("Flatten", axis=2), "has axis 2; understood is 1"),
        (one_node("Gemm", WEIGHT[0, 0], BIAS), "lacks transB"),
        (one_node("Conv", WEIGHT, **CONV), "must have 2 constants after its first input"),
        (one_node("Conv", WEIGHT, BIAS, **CONV, dilations=[2, 2]), "has the attribute 'dilations'"),
        (one_node("Conv", WEIGHT, BIAS, **CONV | {"kernel_shape": [1, 1]}), "kernel_shape"),
        (one_node("MaxPool", **POOL | {"pads": [0, 0, 1, 1]}), "understood are equal ones"),
        (one_node("AveragePool", **POOL, count_include_pad=0), "has count_include_pad 0"),
        (one_node("Add", BIAS), "reads 'constant0', which no node before it computes"),
    ],
)
def test_what_none_of_our_graphs_holds_is_refused(model: onnx.ModelProto, match: str) -> None:
    refused(model, match)


def test_graphs_of_int8_are_refused() -> None:
    model, _ = build_weightless_onnx("graph", [BLOCK], precision=Precision.INT8)
    refused(model, "QuantizeLinear .* is not understood")


def bent(bend: Callable[[onnx.GraphProto], object]) -> onnx.ModelProto:
    model, _ = build_weightless_onnx("graph", [BLOCK])
    bend(model.graph)
    return model


def moved(graph: onnx.GraphProto, offset: str) -> None:
    graph.initializer[0].external_data[1].value = offset


def emptied(graph: onnx.GraphProto) -> None:
    graph.initializer[0].dims[:] = [-3, -1]


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (bent(lambda graph: moved(graph, "4000")), r"is at bytes 4000\.\.4216 of 4096 of weights"),
        (bent(lambda graph: moved(graph, "-4")), r"is at bytes -4\.\."),
        (bent(lambda graph: moved(graph, "2")), r"is at bytes 2\.\."),
        (bent(emptied), "must be of floats, and not empty"),
        (bent(lambda graph: graph.output.pop()), "one input and one output, but has 1 and 0"),
        (bent(lambda graph: graph.node.pop()), "no node computes the graph's output 'output'"),
        (bent(lambda graph: graph.node.reverse()), "which no node before it computes"),
    ],
)
def test_damaged_graphs_are_refused(model: onnx.ModelProto, match: str) -> None:
    refused(model, match)
