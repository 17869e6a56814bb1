"""A graph of a plan, run by torch.

What ``search_spaces.onnx_graph`` writes is understood. Anything else is refused when the graph is
read, so that nothing is timed as something that it is not.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

Operation: TypeAlias = Callable[..., Tensor]

_FLOATS: dict[int, torch.dtype] = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
}


class GraphError(ValueError):
    """A graph that is not understood; the message names the node."""


class TorchGraph:
    """The function that an ONNX graph of one input and one output computes.

    Values have the types that the graph gives them. Weights of convolutions are kept in ``layout``,
    and torch keeps maps in it where it can.

    Args:
        model: a serialised ``ModelProto``.
        weights: the bytes that external initialisers point into, as uint8, on the device to run on.
        layout: ``torch.contiguous_format`` or ``torch.channels_last``.

    Raises:
        GraphError: the graph holds something else than ours do.
    """

    def __init__(
        self,
        model: bytes,
        weights: Tensor,
        *,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        graph = onnx.ModelProto.FromString(model).graph
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise GraphError(
                f"a graph must have one input and one output, but has {len(graph.input)} and "
                f"{len(graph.output)}"
            )
        self._input, self._output = graph.input[0].name, graph.output[0].name
        initializers = _Initializers(graph.initializer, weights, layout)
        self._steps = _with_last_reads(_read(graph, initializers), self._output)

    def __call__(self, image: Tensor) -> Tensor:
        values = {self._input: image}
        for step in self._steps:
            values[step.output] = step.run(*(values[name] for name in step.inputs))
            for name in step.last_reads:
                del values[name]
        return values[self._output]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A node's operation. No later step reads the values in ``last_reads``."""

    run: Operation
    inputs: tuple[str, ...]
    output: str
    last_reads: tuple[str, ...] = ()


def _read(graph: onnx.GraphProto, initializers: "_Initializers") -> list[_Step]:
    known = {graph.input[0].name}
    steps: list[_Step] = []
    for proto in graph.node:
        node = _Node(proto, initializers)
        if node.kind == "Cast" and node.inputs[0] in initializers:
            initializers.cast(node.inputs[0], node.output, node.float_type())
            continue
        run = _operation(node)
        node.check_that_nothing_is_left(known)
        known.add(node.output)
        steps.append(_Step(run=run, inputs=tuple(node.inputs), output=node.output))
    if graph.output[0].name not in known:
        raise GraphError(f"no node computes the graph's output {graph.output[0].name!r:.80}")
    return steps


def _with_last_reads(steps: Sequence[_Step], output: str) -> list[_Step]:
    """The steps, with what need not be kept after each."""
    ending: list[_Step] = []
    read_later = {output}
    for step in reversed(steps):
        ending.append(replace(step, last_reads=tuple({*step.inputs} - read_later)))
        read_later.update(step.inputs)
    return ending[::-1]


class _Initializers:
    """The graph's constants, by name."""

    def __init__(
        self, protos: Sequence[TensorProto], weights: Tensor, layout: torch.memory_format
    ) -> None:
        self._protos = {proto.name: proto for proto in protos}
        self._casts: dict[str, torch.dtype] = {}
        self._weights = weights
        self._layout = layout

    def __contains__(self, name: str) -> bool:
        return name in self._protos

    def cast(self, name: str, new_name: str, dtype: torch.dtype) -> None:
        self._protos[new_name] = self._protos[name]
        self._casts[new_name] = dtype

    def tensor(self, name: str) -> Tensor:
        """Floats, on the device. Each is a copy: two graphs share no memory, hence no cache."""
        proto = self._protos[name]
        if proto.data_location == TensorProto.EXTERNAL:
            values = self._external(proto)
        else:
            values = torch.from_numpy(numpy_helper.to_array(proto).copy())
        return values.to(
            self._weights.device,
            self._casts.get(name, values.dtype),
            copy=True,
            memory_format=self._layout if values.dim() == 4 else torch.contiguous_format,
        )

    def numbers(self, name: str) -> list[Any]:
        """A short constant that says how an operation works."""
        if self._protos[name].data_location == TensorProto.EXTERNAL:
            raise GraphError(f"{name!r:.80} must be in the graph, but is external")
        return list(np.atleast_1d(numpy_helper.to_array(self._protos[name])).tolist())

    def _external(self, proto: TensorProto) -> Tensor:
        place = {pair.key: pair.value for pair in proto.external_data}
        shape, offset = tuple(proto.dims), int(place.get("offset", "0"))
        dtype = _FLOATS.get(proto.data_type)
        if dtype is None or min(shape, default=1) < 1:
            raise GraphError(f"{proto.name!r:.80} must be of floats, and not empty")
        end = offset + dtype.itemsize * math.prod(shape)
        if not 0 <= offset <= end <= len(self._weights) or offset % dtype.itemsize:
            raise GraphError(
                f"{proto.name!r:.80} is at bytes {offset}..{end} of {len(self._weights)} of weights"
            )
        return self._weights[offset:end].view(dtype).view(shape)


class _Node:
    """A node that is taken apart: what is not asked for must not be there."""

    def __init__(self, proto: NodeProto, initializers: _Initializers) -> None:
        self.kind = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
        self.inputs = list(proto.input)
        self._name = proto.name
        self._attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        self._initializers = initializers
        if not self.inputs or len(proto.output) != 1:
            raise self.error("must have inputs and one output")
        self.output = proto.output[0]

    def error(self, what: str) -> GraphError:
        return GraphError(f"{self.kind:.40} {self._name!r:.80} {what}")

    def take(self, name: str) -> Any:
        """An attribute that must be there."""
        if name not in self._attributes:
            raise self.error(f"lacks {name}")
        return self._attributes.pop(name)

    def require(self, name: str, *allowed: object) -> None:
        """An attribute that must have one of these values."""
        if (value := self.take(name)) not in allowed:
            raise self.error(f"has {name} {value!r:.80}; understood is {allowed[0]!r}")

    def tensors(self, count: int) -> list[Tensor]:
        """The inputs after the first, which must be so many constants of floats."""
        return [self._initializers.tensor(name) for name in self._constants(count)]

    def numbers(self, count: int) -> list[list[Any]]:
        """The inputs after the first, which must be so many short constants."""
        return [self._initializers.numbers(name) for name in self._constants(count)]

    def _constants(self, count: int) -> list[str]:
        names, self.inputs = self.inputs[1:], self.inputs[:1]
        if len(names) != count or not all(name in self._initializers for name in names):
            raise self.error(f"must have {count} constants after its first input")
        return names

    def padding(self) -> tuple[int, int]:
        """``pads``, which must be the same before and after."""
        pads = self.take("pads")
        if len(pads) != 4 or pads[:2] != pads[2:]:
            raise self.error(f"has pads {pads}; understood are equal ones on both sides")
        return pads[0], pads[1]

    def float_type(self) -> torch.dtype:
        """``to``, which must be a float format."""
        dtype = _FLOATS.get(self.take("to"))
        if dtype is None:
            raise self.error("must be to float32 or float16")
        return dtype

    def check_that_nothing_is_left(self, known: set[str]) -> None:
        """The inputs that are no constants must be ``known``, and all attributes taken."""
        if unknown := [name for name in self.inputs if name not in known]:
            raise self.error(f"reads {unknown[0]!r:.80}, which no node before it computes")
        if self._attributes:
            raise self.error(f"has the attribute {next(iter(self._attributes))!r:.40}, which none "
                             "of our graphs has")  # fmt: skip


def _operation(node: _Node) -> Operation:
    """What the node computes from those of its inputs that are no constants."""
    if node.kind not in _READERS:
        raise node.error(f"is not understood; understood are {', '.join(_READERS)}")
    return _READERS[node.kind](node)


def _conv(node: _Node) -> Operation:
    weight, bias = node.tensors(2)
    node.require("kernel_shape", list(weight.shape[2:]))
    stride, padding, groups = node.take("strides"), node.padding(), node.take("group")
    return lambda x: functional.conv2d(x, weight, bias, stride, padding, 1, groups)


def _gemm(node: _Node) -> Operation:
    weight, bias = node.tensors(2)
    node.require("transB", 1)
    return lambda x: functional.linear(x, weight, bias)


def _cast(node: _Node) -> Operation:
    dtype = node.float_type()
    return lambda x: x.to(dtype)


def _clip(node: _Node) -> Operation:
    (low,), (high,) = node.numbers(2)
    return lambda x: torch.clamp(x, low, high)


def _hard_sigmoid(node: _Node) -> Operation:
    node.require("alpha", float(np.float32(1 / 6)))
    node.require("beta", 0.5)
    return functional.hardsigmoid


def _max_pool(node: _Node) -> Operation:
    kernel, stride, padding = node.take("kernel_shape"), node.take("strides"), node.padding()
    return lambda x: functional.max_pool2d(x, kernel, stride, padding)


def _average_pool(node: _Node) -> Operation:
    kernel, stride, padding = node.take("kernel_shape"), node.take("strides"), node.padding()
    node.require("count_include_pad", 1)
    return lambda x: functional.avg_pool2d(x, kernel, stride, padding)


def _concat(node: _Node) -> Operation:
    axis = node.take("axis")
    return lambda *parts: torch.cat(parts, axis)


def _slice(node: _Node) -> Operation:
    (start,), (stop,), (axis,) = node.numbers(3)
    return lambda x: x.narrow(axis, start, stop - start)


def _reshape(node: _Node) -> Operation:
    (shape,) = node.numbers(1)
    return lambda x: x.reshape([n or x.shape[axis] for axis, n in enumerate(shape)])


def _transpose(node: _Node) -> Operation:
    order = node.take("perm")
    return lambda x: x.permute(order)


def _flatten(node: _Node) -> Operation:
    node.require("axis", 1)
    return lambda x: torch.flatten(x, 1)


def _plain(run: Operation) -> Callable[[_Node], Operation]:
    """A reader of what has neither constants nor attributes."""
    return lambda _: run


_READERS: dict[str, Callable[[_Node], Operation]] = {
    "Add": _plain(torch.add),
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": _plain(lambda x: functional.adaptive_avg_pool2d(x, 1)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(functional.hardswish),
    "Identity": _plain(lambda x: x),
    "MaxPool": _max_pool,
    "Mul": _plain(torch.mul),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Transpose": _transpose,
}
