"""Operations + weights → ONNX, batch norm folded. Needs no torch.

Building a graph from the description takes about a millisecond, where exporting a torch module
takes tens to hundreds (``benchmarks/graph_building.py``).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from search_spaces.architecture import Architecture
from search_spaces.blocks import Activation, PoolKind
from search_spaces.lowering import LoweredBlock, lower
from search_spaces.onnx_half import halve
from search_spaces.onnx_quantised import quantise
from search_spaces.onnx_weights import WeightSource, no_weights, random_weights, trained_weights
from search_spaces.ops import (
    Activate,
    Add,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    GlobalPool,
    Linear,
    Multiply,
    Op,
    PoolWindow,
)
from search_spaces.precision import Precision

OPSET = 17
IR_VERSION = 9
GRAPH_INPUT = "input"
GRAPH_OUTPUT = "output"
WEIGHTS_FILE = "weights.bin"
_ALIGNMENT_BYTES = 64


def build_onnx(
    architecture: Architecture, weights: Mapping[str, Any] | None = None, *, batch: int = 1
) -> onnx.ModelProto:
    """The network as an ONNX model: images ``(N, C, H, W)`` in, logits ``(N, num_classes)`` out.

    Args:
        architecture: the network; its resolution is the input's height and width.
        weights: a ``state_dict`` of ``build_model(architecture)``, or any mapping from its names
            to arrays; batch norms are folded into the convolutions. ``None``: random weights.
        batch: N.

    Raises:
        ValueError: a weight is missing, left over, or has another shape.
    """
    return build_blocks_onnx(
        architecture.name,
        lower(architecture),
        weights,
        norm_epsilon=architecture.norm_epsilon,
        batch=batch,
    )


def build_blocks_onnx(
    name: str,
    blocks: Sequence[LoweredBlock],
    weights: Mapping[str, Any] | None = None,
    *,
    norm_epsilon: float = 1e-5,
    batch: int = 1,
) -> onnx.ModelProto:
    """Like ``build_onnx``, for some blocks of a network: ``weights`` has the names of their ops."""
    if weights is None:
        source = random_weights(np.random.default_rng(0))
    else:
        source = trained_weights(blocks, weights, norm_epsilon)
    return _build_model(name, blocks, source, batch)


def build_weightless_onnx(
    name: str,
    blocks: Sequence[LoweredBlock],
    *,
    batch: int = 1,
    precision: Precision = Precision.FP32,
) -> tuple[onnx.ModelProto, int]:
    """A graph for timing: every weight points into one file of random float32 numbers.

    Its input and output are float32 in each precision. ``int8`` is what onnxruntime's static
    quantisation makes of the network (``onnx_quantised.py``). ``fp16`` times float16 only where the
    execution provider computes in it (``onnx_half.py``).

    Returns:
        the model, whose weights lie in ``WEIGHTS_FILE`` beside it, and the bytes that file needs.
    """
    model = _build_model(name, blocks, no_weights, batch)
    match precision:
        case Precision.FP32:
            pass
        case Precision.INT8:
            quantise(model.graph)
        case Precision.FP16:
            halve(model.graph)
        case _:
            assert_never(precision)
    return model, _place_weights(model.graph)


def _place_weights(graph: onnx.GraphProto) -> int:
    """Give each weight a place in ``WEIGHTS_FILE``, in order; returns the bytes of the file."""
    size_bytes = 0
    for tensor in graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        length = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * math.prod(tensor.dims)
        for key, value in (
            ("location", WEIGHTS_FILE),
            ("offset", str(size_bytes)),
            ("length", str(length)),
        ):
            tensor.external_data.add(key=key, value=value)
        size_bytes += -(-length // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    return size_bytes


def _build_model(
    name: str, blocks: Sequence[LoweredBlock], source: WeightSource, batch: int
) -> onnx.ModelProto:
    graph = _GraphBuilder(source, blocks[0].input_name, blocks[-1].output_name)
    for block in blocks:
        for op in block.ops:
            graph.add(op)
    first, last = blocks[0].input_shape, blocks[-1].ops[-1]
    result = [batch, last.output_shape.channels]
    if last.name not in graph.flat:
        result += [last.output_shape.height, last.output_shape.width]
    image = [batch, first.channels, first.height, first.width]
    proto = helper.make_graph(
        graph.nodes,
        name,
        [helper.make_tensor_value_info(GRAPH_INPUT, TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(GRAPH_OUTPUT, TensorProto.FLOAT, result)],
        initializer=graph.initializers,
    )
    return helper.make_model(
        proto,
        producer_name="chronas",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


class _GraphBuilder:
    """Turns operations into nodes. ``flat`` holds the values of shape ``(N, C)``."""

    def __init__(self, source: WeightSource, first_value: str, last_value: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.flat: set[str] = set()
        self._source = source
        self._renamed = {first_value: GRAPH_INPUT, last_value: GRAPH_OUTPUT}

    def add(self, op: Op) -> None:
        match op:
            case Conv():
                pad = op.kernel // 2
                attributes = {
                    "kernel_shape": [op.kernel] * 2,
                    "strides": [op.stride] * 2,
                    "pads": [pad] * 4,
                    "group": op.groups,
                }
                self._node("Conv", op, self._weights(op), **attributes)
            case Linear():
                self._linear(op)
            case Activate():
                self._activate(op)
            case PoolWindow():
                self._pool(op)
            case GlobalPool():
                self._node("GlobalAveragePool", op)
            case Add():
                self._node("Add", op)
            case Multiply():
                self._node("Mul", op)
            case Concat():
                self._node("Concat", op, axis=1)
            case ChannelSlice():
                stop = op.start + op.output_shape.channels
                bounds = [
                    self._integers(f"{op.name}.{name}", [value])
                    for name, value in (("starts", op.start), ("ends", stop), ("axes", 1))
                ]
                self._node("Slice", op, bounds)
            case ChannelShuffle():
                self._channel_shuffle(op)
            case _:
                assert_never(op)

    def _value(self, name: str) -> str:
        return self._renamed.get(name, name)

    def _node(self, kind: str, op: Op, extra: Iterable[str] = (), **attributes: Any) -> None:
        inputs = [*(self._value(name) for name in op.inputs), *extra]
        self._raw_node(kind, inputs, self._value(op.name), op.name, **attributes)

    def _raw_node(
        self, kind: str, inputs: Sequence[str], output: str, name: str, **attributes: Any
    ) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))

    def _weights(self, op: Conv | Linear) -> tuple[str, str]:
        weight, bias = self._source(op)
        self.initializers += [weight, bias]
        return weight.name, bias.name

    def _integers(self, name: str, values: Sequence[int]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _linear(self, op: Linear) -> None:
        source = self._value(op.inputs[0])
        if op.inputs[0] not in self.flat:
            flattened = f"{op.name}.flatten"
            self._raw_node("Flatten", [source], flattened, flattened, axis=1)
            source = flattened
        self.flat.add(op.name)
        inputs = [source, *self._weights(op)]
        self._raw_node("Gemm", inputs, self._value(op.name), op.name, transB=1)

    def _activate(self, op: Activate) -> None:
        if op.inputs[0] in self.flat:
            self.flat.add(op.name)
        match op.activation:
            case Activation.IDENTITY:
                self._node("Identity", op)
            case Activation.RELU:
                self._node("Relu", op)
            case Activation.RELU6:
                bounds = [f"{op.name}.min", f"{op.name}.max"]
                for name, bound in zip(bounds, (0.0, 6.0), strict=True):
                    self.initializers.append(
                        numpy_helper.from_array(np.array(bound, np.float32), name)
                    )
                self._node("Clip", op, bounds)
            case Activation.SIGMOID:
                self._node("Sigmoid", op)
            case Activation.HARD_SIGMOID:
                self._node("HardSigmoid", op, alpha=1 / 6, beta=0.5)
            case Activation.H_SWISH:
                self._node("HardSwish", op)
            case Activation.SWISH:
                gate, source = f"{op.name}.sigmoid", self._value(op.inputs[0])
                self._raw_node("Sigmoid", [source], gate, gate)
                self._node("Mul", op, [gate])
            case _:
                assert_never(op.activation)

    def _pool(self, op: PoolWindow) -> None:
        attributes: dict[str, Any] = {
            "kernel_shape": [op.kernel] * 2,
            "strides": [op.stride] * 2,
            "pads": [op.kernel // 2] * 4,
        }
        if op.kind is PoolKind.MAX:
            self._node("MaxPool", op, **attributes)
        else:
            self._node("AveragePool", op, count_include_pad=1, **attributes)

    def _channel_shuffle(self, op: ChannelShuffle) -> None:
        shape = op.output_shape
        grouped = [0, op.groups, shape.channels // op.groups, shape.height, shape.width]
        restored = [0, shape.channels, shape.height, shape.width]
        split, swapped = f"{op.name}.split", f"{op.name}.swap"
        source = self._value(op.inputs[0])
        self._raw_node(
            "Reshape", [source, self._integers(f"{op.name}.grouped", grouped)], split, split
        )
        self._raw_node("Transpose", [split], swapped, swapped, perm=[0, 2, 1, 3, 4])
        inputs = [swapped, self._integers(f"{op.name}.restored", restored)]
        self._raw_node("Reshape", inputs, self._value(op.name), op.name)
