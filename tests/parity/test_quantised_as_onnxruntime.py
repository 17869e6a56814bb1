"""An int8 graph is what onnxruntime's static quantisation makes of the same network.

Compared is what runs: both graphs after onnxruntime's own optimisation, node by node, with
attributes and with the types and shapes of weights, scales and zero points.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from nas.exporting.quantising import quantise
from nas.exporting.ranges import Method, observe, ranges
from search_spaces import load_seed
from search_spaces.blocks import (
    Activation,
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
from search_spaces.lowering import INPUT, LoweredBlock, lower, lower_block
from search_spaces.onnx_graph import WEIGHTS_FILE, build_blocks_onnx, build_weightless_onnx
from search_spaces.ops import Activate, Add, Conv, GlobalPool, Multiply, Op, PoolWindow
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape

SHAPE = TensorShape(16, 7, 7)


class RandomImage(CalibrationDataReader):
    def __init__(self, shape: tuple[int, ...]) -> None:
        image = np.random.default_rng(0).standard_normal(shape, np.float32)
        self._feeds = iter([{"input": image}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def optimised_nodes(path: Path) -> Counter[tuple[Any, ...]]:
    """What onnxruntime runs: each node with its attributes and its initialisers' types, shapes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path.with_suffix(".optimised"))
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath, load_external_data=False).graph
    kinds = {t.name: (t.data_type, tuple(t.dims)) for t in graph.initializer}
    return Counter(
        (
            node.domain,
            node.op_type,
            tuple(sorted(str(attribute) for attribute in node.attribute)),
            tuple(kinds.get(name, "a value") for name in node.input),
        )
        for node in graph.node
    )


def assert_as_exported(blocks: Sequence[LoweredBlock], folder: Path) -> None:
    """The graph that is timed has the operators of the file that is handed over."""
    network = build_blocks_onnx("network", blocks)
    shape = blocks[0].input_shape
    images = torch.randn(2, 1, shape.channels, shape.height, shape.width)
    found = ranges(observe(network, lambda: images, lambda: None), Method.PERCENTILE, 99.9)
    onnx.save(quantise(network, found), folder / "exported.onnx")
    model, size = build_weightless_onnx("network", blocks, precision=Precision.INT8)
    onnx.save(model, folder / "timed.onnx")
    (folder / WEIGHTS_FILE).write_bytes(np.random.default_rng(0).bytes(size))
    assert optimised_nodes(folder / "timed.onnx") == optimised_nodes(folder / "exported.onnx")


def assert_as_onnxruntime(blocks: Sequence[LoweredBlock], folder: Path) -> None:
    shape = blocks[0].input_shape
    quantize_static(
        build_blocks_onnx("network", blocks),
        folder / "theirs.onnx",
        RandomImage((1, shape.channels, shape.height, shape.width)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    model, size = build_weightless_onnx("network", blocks, precision=Precision.INT8)
    onnx.save(model, folder / "ours.onnx")
    (folder / WEIGHTS_FILE).write_bytes(np.random.default_rng(0).bytes(size))
    assert optimised_nodes(folder / "ours.onnx") == optimised_nodes(folder / "theirs.onnx")


SEEDS = [
    ("mnasnet_a1", 0.2),
    ("mobilenet_v1", 0.25),
    ("mobilenet_v2", 0.2),
    ("mobilenet_v3_large", 0.2),
    ("shufflenet_v1_g3", 0.25),
    ("shufflenet_v2_x1_0", 0.5),
]


@pytest.mark.parametrize(("name", "width"), SEEDS)
def test_seed(name: str, width: float, tmp_path: Path) -> None:
    """One of each family, narrow: the reference quantises channel by channel, in Python."""
    assert_as_onnxruntime(lower(load_seed(name, width, resolution=32)), tmp_path)


@pytest.mark.parametrize(("name", "width"), SEEDS)
def test_exported_seed(name: str, width: float, tmp_path: Path) -> None:
    assert_as_exported(lower(load_seed(name, width, resolution=32)), tmp_path)


BLOCKS: dict[str, Block] = {
    "swish": ConvNormAct(out_channels=24, kernel=3, activation=Activation.SWISH),
    "no activation": ConvNormAct(out_channels=24, kernel=1, activation=Activation.IDENTITY),
    "relu6, pooling skip": ConvNormAct(
        out_channels=16, kernel=5, activation=Activation.RELU6, skip=Skip.POOL
    ),
    "hard sigmoid gate": DepthwiseSeparable(
        out_channels=16,
        kernel=3,
        squeeze_excite=SqueezeExcite(channels=4, gate=Activation.HARD_SIGMOID),
        skip=Skip.IDENTITY,
    ),
    "h-swish out": DepthwiseSeparable(
        out_channels=24, kernel=7, stride=2, output_activation=Activation.H_SWISH
    ),
    "sigmoid gate": InvertedResidual(
        expanded_channels=40,
        out_channels=16,
        kernel=5,
        activation=Activation.H_SWISH,
        squeeze_excite=SqueezeExcite(channels=8, activation=Activation.SWISH),
        skip=Skip.IDENTITY,
    ),
    "shuffle v1": ShuffleV1Unit(bottleneck_channels=8, out_channels=16, groups=4, input_groups=4),
    "shuffle v1, stride 2": ShuffleV1Unit(
        bottleneck_channels=12, out_channels=40, groups=3, input_groups=1, stride=2
    ),
    "shuffle v1, h-swish": ShuffleV1Unit(
        bottleneck_channels=8,
        out_channels=16,
        groups=4,
        input_groups=1,
        activation=Activation.H_SWISH,
    ),
    "shuffle v2": ShuffleV2Unit(branch_channels=7, out_channels=16),
    "shuffle v2, stride 2": ShuffleV2Unit(branch_channels=7, out_channels=40, stride=2),
    "shuffle v2, swish": ShuffleV2Unit(
        branch_channels=7, out_channels=16, activation=Activation.SWISH
    ),
    "average pool": Pool(kind=PoolKind.AVERAGE, kernel=3, stride=2),
    "max pool": Pool(kind=PoolKind.MAX, kernel=5),
    "head": ClassifierHead(num_classes=10),
    "hidden head": ClassifierHead(
        num_classes=10, hidden_channels=24, hidden_activation=Activation.H_SWISH
    ),
}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_block(block: Block, tmp_path: Path) -> None:
    assert_as_onnxruntime([lower_block(block, SHAPE)], tmp_path)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_block_inside_a_network(block: Block, tmp_path: Path) -> None:
    """Fed by a convolution and read by a pool: what it hands over decides how it is quantised."""
    before = lower_block(
        ConvNormAct(out_channels=16, kernel=1, activation=Activation.IDENTITY),
        TensorShape(4, 7, 7),
        name="before",
    )
    lowered = lower_block(block, SHAPE, input_name=before.output_name)
    result = lowered.ops[-1].output_shape
    after = GlobalPool(
        name="after.pool",
        inputs=(lowered.output_name,),
        output_shape=TensorShape(result.channels, 1, 1),
    )
    chain = [before, lowered]
    if not isinstance(block, ClassifierHead):
        chain.append(LoweredBlock("after", lowered.output_name, result, (after,)))
    assert_as_onnxruntime(chain, tmp_path)


def in_turn(*steps: Activation | PoolKind | str) -> list[LoweredBlock]:
    """Operations that each read the one before them, and keep the shape."""
    ops: list[Op] = []
    for index, step in enumerate(steps):
        source = ops[-1].name if ops else INPUT
        common: dict[str, Any] = {"name": f"ops.{index}", "output_shape": SHAPE}
        match step:
            case Activation():
                ops.append(Activate(inputs=(source,), activation=step, **common))
            case PoolKind():
                ops.append(PoolWindow(inputs=(source,), kind=step, kernel=3, stride=1, **common))
            case "conv":
                conv = Conv(
                    inputs=(source,), in_channels=SHAPE.channels, kernel=1, stride=1, groups=1,
                    norm=None, **common,
                )  # fmt: skip
                ops.append(conv)
            case "add the input":
                ops.append(Add(inputs=(source, INPUT), **common))
            case _:
                raise AssertionError(step)
    return [LoweredBlock("ops", INPUT, SHAPE, tuple(ops))]


@pytest.mark.parametrize(
    "steps",
    [
        (Activation.RELU,),
        (Activation.RELU, "conv"),
        (Activation.H_SWISH, Activation.RELU, "conv"),
        (Activation.SIGMOID,),
        (Activation.HARD_SIGMOID, "conv"),
        (PoolKind.MAX,),
        (PoolKind.MAX, Activation.RELU, "conv"),
        ("conv", PoolKind.MAX, Activation.RELU),
        ("conv", PoolKind.AVERAGE, Activation.RELU, "conv"),
        ("conv", Activation.RELU, Activation.RELU6, "conv"),
        ("conv", Activation.IDENTITY, Activation.RELU),
        ("conv", Activation.H_SWISH, Activation.RELU, PoolKind.MAX, "conv"),
        ("conv", Activation.RELU, "add the input", Activation.RELU6),
        ("add the input", Activation.RELU, "add the input", PoolKind.MAX),
    ],
    ids=" → ".join,
)
def test_operations_that_no_block_has_in_this_order(
    steps: tuple[Activation | PoolKind | str, ...], tmp_path: Path
) -> None:
    assert_as_onnxruntime(in_turn(*steps), tmp_path)


def test_a_clipped_value_with_two_readers_is_quantised_before_and_after(tmp_path: Path) -> None:
    (block,) = in_turn("conv", Activation.RELU)
    conv, relu = block.ops
    total = Add(name="total", inputs=(conv.name, relu.name), output_shape=SHAPE)
    assert_as_onnxruntime([LoweredBlock("ops", INPUT, SHAPE, (conv, relu, total))], tmp_path)


def test_a_map_multiplied_by_its_own_mean(tmp_path: Path) -> None:
    (block,) = in_turn("conv")
    (conv,) = block.ops
    pool = GlobalPool(name="pool", inputs=(conv.name,), output_shape=TensorShape(16, 1, 1))
    product = Multiply(name="product", inputs=(conv.name, pool.name), output_shape=SHAPE)
    assert_as_onnxruntime([LoweredBlock("ops", INPUT, SHAPE, (conv, pool, product))], tmp_path)
