"""A float32 graph → the graph that onnxruntime's static quantisation makes of it.

``quantise`` writes what ``onnxruntime.quantization.quantize_static`` writes with
``QuantFormat.QDQ``, ``per_channel=True``, uint8 activations and int8 weights. For timing no values
matter, so there is no calibration: scales and zero points are plausible constants, and weights
have no values.

The types are those that onnxruntime recommends for x86; Arm's kernels take them as well, whereas
int8 activations leave some convolutions in float32 on x86. ``reduce_range``, recommended where
there is no VNNI, changes values of weights, not the graph.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

_WEIGHTED = frozenset({"Conv", "Gemm"})
_QUANTISED = _WEIGHTED | {"Add", "Concat", "GlobalAveragePool", "Mul", "Sigmoid"}
_PASSING = frozenset({"AveragePool", "Flatten", "MaxPool", "Reshape", "Slice", "Transpose"})
_CLIPPING = frozenset({"Clip", "Relu"})
_LEFT_IN_FLOAT = frozenset({"HardSigmoid", "HardSwish", "Identity"})

_NEVER_NEGATIVE = _CLIPPING | {"HardSigmoid", "Sigmoid"}
_NOT_NEGATIVE_OF_SUCH = _PASSING | {"Add", "Concat", "GlobalAveragePool", "Identity", "Mul"}

_WEIGHT_SCALE = 0.1 / 127
_ACTIVATION_SCALE = 4 / 255
_SCALE_STEP = 1e-4
"""From one activation's scale to the next: onnxruntime drops conversions between equal scales."""
_ZERO_POINT = 117
"""Of values of both signs: neither an end nor the middle of uint8, which may be special cases."""

Marks = dict[str, str | None]
"""The values to quantise, each with the value whose scale it shares, if any."""


def quantise(graph: onnx.GraphProto) -> None:
    """Quantise a graph of ``onnx_graph.py`` in place; its input and output stay float32.

    Weights and biases must be initialisers without values; they become int8 and int32.
    """
    never_negative = _never_negative(graph)
    nodes, marks = _mark(graph)
    _Writer(graph, marks, never_negative).write(nodes)


def _never_negative(graph: onnx.GraphProto) -> set[str]:
    """The values that are at least zero whatever the image is."""
    initializers = {tensor.name for tensor in graph.initializer}
    found: set[str] = set()
    for node in graph.node:
        values = [name for name in node.input if name not in initializers]
        if node.op_type in _NEVER_NEGATIVE or (
            node.op_type in _NOT_NEGATIVE_OF_SUCH and found.issuperset(values)
        ):
            found.add(node.output[0])
    return found


def _mark(graph: onnx.GraphProto) -> tuple[list[NodeProto], Marks]:
    """The nodes that stay, and what to quantise: the rules of ``onnxruntime.quantization``.

    They depend on the order: a node that only moves or clips values is quantised if its input is.
    """
    initializers = {tensor.name for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    writers: dict[str, NodeProto] = {}
    kept: list[NodeProto] = []
    marks: Marks = {}
    for node in graph.node:
        source, result = node.input[0], node.output[0]
        writers[result] = node
        if node.op_type in _QUANTISED:
            for value in [*node.input, result]:
                if value not in initializers:
                    marks.setdefault(value, None)
        elif node.op_type in _PASSING and source in marks:
            marks[result] = source
        elif node.op_type in _CLIPPING and source in marks:
            marks[result] = None
            if readers[source] == 1:
                # uint8 can end where this node clips, so what writes its input does its work.
                writers[result] = writers[source]
                writers[result].output[0] = result
                del marks[source]
                continue
        else:
            assert node.op_type in _PASSING | _CLIPPING | _LEFT_IN_FLOAT, node.op_type
        kept.append(node)
    return kept, marks


class _Writer:
    """Writes nodes, and around them the conversions that the marks ask for."""

    def __init__(self, graph: onnx.GraphProto, marks: Marks, never_negative: set[str]) -> None:
        self._graph = graph
        self._marks = marks
        self._never_negative = never_negative
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._scales: dict[str, float] = {}
        self._nodes: list[NodeProto] = []

    def write(self, nodes: Iterable[NodeProto]) -> None:
        """Put ``nodes`` in the place of the graph's."""
        (image,), (logits,) = self._graph.input, self._graph.output
        if image.name in self._marks:
            self._convert(image.name, image.name, _dequantised(image.name))
        for node in nodes:
            if node.op_type in _WEIGHTED:
                self._quantise_weights(node)
            node.input[:] = [
                _dequantised(name) if name in self._marks else name for name in node.input
            ]
            self._nodes.append(node)
            result = node.output[0]
            if result in self._marks and result == logits.name:
                node.output[0] = f"{result}.float"
                self._convert(result, node.output[0], result)
            elif result in self._marks:
                self._convert(result, result, _dequantised(result))
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _convert(self, value: str, source: str, result: str) -> None:
        """To uint8 and back, ``source`` to ``result``, with the scale of ``value``."""
        parameters, quantised = self._parameters(value), f"{value}.quantised"
        self._nodes += [
            helper.make_node("QuantizeLinear", [source, *parameters], [quantised], quantised),
            helper.make_node("DequantizeLinear", [quantised, *parameters], [result], result),
        ]

    def _parameters(self, value: str) -> tuple[str, str]:
        """The names of a value's scale and zero point, which are made when first asked for."""
        owner = self._owner(value)
        scale, zero_point = f"{owner}.scale", f"{owner}.zero_point"
        if owner not in self._scales:
            self._scales[owner] = _ACTIVATION_SCALE + _SCALE_STEP * len(self._scales)
            self._constant(scale, np.array(self._scales[owner], np.float32))
            zero = 0 if owner in self._never_negative else _ZERO_POINT
            self._constant(zero_point, np.array(zero, np.uint8))
        return scale, zero_point

    def _owner(self, value: str) -> str:
        """The value whose scale this one has."""
        while (shared := self._marks[value]) is not None:
            value = shared
        return value

    def _quantise_weights(self, node: NodeProto) -> None:
        """With a scale an output channel; a bias is added to products, and has their scale."""
        source, weight, bias = node.input
        input_scale = self._scales[self._owner(source)]
        self._quantise_initializer(weight, TensorProto.INT8, _WEIGHT_SCALE)
        self._quantise_initializer(bias, TensorProto.INT32, _WEIGHT_SCALE * input_scale)
        node.input[1:] = [_dequantised(weight), _dequantised(bias)]

    def _quantise_initializer(self, name: str, data_type: int, scale: float) -> None:
        tensor, result = self._weights[name], _dequantised(name)
        tensor.data_type = data_type
        channels, kind = tensor.dims[0], helper.tensor_dtype_to_np_dtype(data_type)
        inputs = [name, f"{name}.scale", f"{name}.zero_point"]
        self._constant(inputs[1], np.full(channels, scale, np.float32))
        self._constant(inputs[2], np.zeros(channels, kind))
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [result], result, axis=0))

    def _constant(self, name: str, values: NDArray[Any]) -> None:
        self._graph.initializer.append(numpy_helper.from_array(values, name))


def _dequantised(name: str) -> str:
    return f"{name}.dequantised"
