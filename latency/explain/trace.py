"""The nodes of a trace → the block and the kind of operation that each belongs to.

A runtime fuses operations, inserts some of its own, and names both: ``blocks.3.expand.conv_nchwc``,
``fused blocks.17.hidden``, ``ReorderOutput_token_12``. The longest name of ours in a node's name
says what it computes. A convolution that a later operation is fused into stays a convolution,
also where the node is named after the activation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from math import prod
from typing import TypeAlias, assert_never

from search_spaces.architecture import Architecture
from search_spaces.costs import weight_shapes
from search_spaces.lowering import lower
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


class OpKind(StrEnum):
    """What time is spent on.

    ``CONVERSION`` is between number formats: quantise, dequantise, cast. ``LAYOUT`` is what the
    runtime inserts to bring maps into a layout of its own and back.
    """

    POINTWISE = "1x1 conv"
    DENSE = "kxk conv"
    GROUPED = "grouped conv"
    DEPTHWISE = "depthwise conv"
    SQUEEZE_EXCITE = "squeeze-excite"
    ACTIVATION = "activation"
    ELEMENTWISE = "add, multiply"
    POOLING = "pooling"
    SHUFFLE = "shuffle, concat, slice"
    LINEAR = "linear"
    LAYOUT = "layout changes"
    CONVERSION = "number formats"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedNode:
    """A node that the runtime ran.

    Attributes:
        block: the index of its block; None where no node of the trace has a name of ours.
    """

    name: str
    operator: str
    block: int | None
    kind: OpKind
    latency_ms: float


_Place: TypeAlias = tuple[int, Op]
"""A block's index and an operation of it."""

_REORDERS = frozenset({"ReorderInput", "ReorderOutput"})
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast"})
_UNNAMED = {
    # h-swish where the runtime inlines it. Our other products have names.
    "HardSigmoid": OpKind.ACTIVATION,
    "Mul": OpKind.ACTIVATION,
    **dict.fromkeys(("Relu", "Clip", "Sigmoid", "HardSwish", "QuickGelu"), OpKind.ACTIVATION),
    "Transpose": OpKind.LAYOUT,
}


def traced_nodes(
    architecture: Architecture, trace: Iterable[tuple[str, str, float]]
) -> list[TracedNode]:
    """Every (node, operator, milliseconds) of a trace, in order, none lost.

    What has no name of ours belongs to the block of the named node before it; what brings an input
    into another layout, to that of the node after it.
    """
    trace = list(trace)
    places = {
        op.name: (index, op) for index, block in enumerate(lower(architecture)) for op in block.ops
    }
    named = [_place_of(name, places) for name, _, _ in trace]
    before = list(accumulate(named, _latest))
    after = list(accumulate(reversed(named), _latest))[::-1]
    nodes = []
    for index, (name, operator, latency_ms) in enumerate(trace):
        near = before[index], after[index]
        for_next = named[index] is None and operator == "ReorderInput"
        owner = (near[1] or near[0]) if for_next else (near[0] or near[1])
        nodes.append(
            TracedNode(
                name=name,
                operator=operator,
                block=None if owner is None else owner[0],
                kind=_node_kind(operator, named[index], near, places),
                latency_ms=latency_ms,
            )
        )
    return nodes


def madds_by_kind(architecture: Architecture) -> dict[OpKind, int]:
    """Multiply-adds of a network's operations, by kind; kinds without any are left out."""
    madds: dict[OpKind, int] = {}
    for block in lower(architecture):
        for op in block.ops:
            if isinstance(op, Conv | Linear):
                kind = kind_of(op)
                count = prod(weight_shapes(op)[0]) * op.output_shape.pixels
                madds[kind] = madds.get(kind, 0) + count
    return madds


def kind_of(op: Op) -> OpKind:
    """The kind of one of our operations."""
    if _in_squeeze_excite(op):
        return OpKind.SQUEEZE_EXCITE
    match op:
        case Conv():
            return _conv_kind(op)
        case Linear():
            return OpKind.LINEAR
        case Activate():
            return OpKind.ACTIVATION
        case PoolWindow() | GlobalPool():
            return OpKind.POOLING
        case Add() | Multiply():
            return OpKind.ELEMENTWISE
        case Concat() | ChannelSlice() | ChannelShuffle():
            return OpKind.SHUFFLE
        case _:
            assert_never(op)


def _conv_kind(op: Conv) -> OpKind:
    if op.groups == 1:
        return OpKind.POINTWISE if op.kernel == 1 else OpKind.DENSE
    return OpKind.DEPTHWISE if op.groups == op.in_channels else OpKind.GROUPED


def _in_squeeze_excite(op: Op) -> bool:
    return ".squeeze_excite." in op.name


def _place_of(node: str, places: Mapping[str, _Place]) -> _Place | None:
    name = max((name for name in places if name in node), key=len, default=None)
    return None if name is None else places[name]


def _latest(last: _Place | None, place: _Place | None) -> _Place | None:
    return place or last


def _node_kind(
    operator: str,
    place: _Place | None,
    near: Sequence[_Place | None],
    places: Mapping[str, _Place],
) -> OpKind:
    if operator in _REORDERS:
        return OpKind.LAYOUT
    if operator in _CONVERSIONS:
        return OpKind.CONVERSION
    if place is None:
        between = [neighbour is not None and _in_squeeze_excite(neighbour[1]) for neighbour in near]
        kind = _UNNAMED.get(operator, OpKind.OTHER)
        return OpKind.SQUEEZE_EXCITE if all(between) and kind is not OpKind.LAYOUT else kind
    op = place[1]
    if operator == "Transpose" and not isinstance(op, ChannelShuffle):
        return OpKind.LAYOUT
    if "Conv" in operator or "Gemm" in operator:
        op = _fused_into(op, places)
    return kind_of(op)


def _fused_into(op: Op, places: Mapping[str, _Place]) -> Op:
    """The convolution or linear layer that makes the input of an operation fused into it."""
    found = op
    while isinstance(found, Activate | Add) and found.inputs[0] in places:
        found = places[found.inputs[0]][1]
    return found
