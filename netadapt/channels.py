"""The same channel wherever it is written or read, followed through a network's operations.

A convolution makes channels. Those that are added to each other, or multiplied by a gate, are one
channel from there on; depthwise layers, pools and activations hand channels on; concatenations,
slices and shuffles move them. So all that belongs to one channel, in every layer, follows from the
primitive operations, and no kind of block needs to be known here. Keeping a channel means keeping
all of that.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from search_spaces.lowering import INPUT, LoweredBlock
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

Channel: TypeAlias = int
"""A number that is smaller the earlier in the network the channel is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLayer:
    """A layer with weights, and the channels on both of its sides.

    Attributes:
        op: the layer.
        reads, writes: a channel per position.
        is_depthwise: whether it hands on the channels that it reads, each with its own filter.
        is_gate: whether what it writes only multiplies the channels, as squeeze-and-excite does.
    """

    op: Conv | Linear
    reads: tuple[Channel, ...]
    writes: tuple[Channel, ...]
    is_depthwise: bool
    is_gate: bool

    @property
    def groups(self) -> int:
        """How many parts of its output read a part of its input each; 1 for a depthwise layer."""
        return self.op.groups if isinstance(self.op, Conv) and not self.is_depthwise else 1

    def places(self) -> Iterator[tuple[Channel, bool, int]]:
        """(channel, whether it is made here or else read, in which group), for every position."""
        sides = (self.reads, False), (() if self.is_depthwise else self.writes, True)
        for channels, is_made in sides:
            for position, channel in enumerate(channels):
                yield channel, is_made, position * self.groups // len(channels)


def depthwise_names(blocks: Iterable[LoweredBlock]) -> frozenset[str]:
    """The depthwise layers of a network.

    One whose width is 1 looks like any other convolution; so they are told on the wider network,
    and known by their names on one that has been narrowed.
    """
    convolutions = (op for block in blocks for op in block.ops if isinstance(op, Conv))
    return frozenset(
        op.name
        for op in convolutions
        if op.groups == op.in_channels == op.output_shape.channels and op.groups > 1
    )


def trace_channels(
    blocks: Sequence[LoweredBlock], depthwise: Container[str]
) -> tuple[TracedLayer, ...]:
    """Every layer with weights, in order, with the channels that it reads and writes.

    Args:
        blocks: the network, lowered.
        depthwise: the names of its depthwise layers.
    """
    trace = _Trace()
    trace.values[INPUT] = trace.make(blocks[0].input_shape.channels)
    for block in blocks:
        for op in block.ops:
            trace.values[op.name] = trace.follow(op, depthwise)
    return tuple(
        TracedLayer(
            op=op,
            reads=tuple(map(trace.find, reads)),
            writes=tuple(map(trace.find, writes)),
            is_depthwise=op.name in depthwise,
            is_gate=writes[0] in trace.gates,
        )
        for op, reads, writes in trace.layers
    )


@dataclass(slots=True)
class _Trace:
    """Channels of every value, by position; ``parents`` is a union-find over what was made.

    Attributes:
        gates: the channels that multiply others, as they were made.
    """

    values: dict[str, list[Channel]] = field(default_factory=dict)
    parents: list[Channel] = field(default_factory=list)
    layers: list[tuple[Conv | Linear, list[Channel], list[Channel]]] = field(default_factory=list)
    gates: set[Channel] = field(default_factory=set)

    def make(self, number: int) -> list[Channel]:
        first = len(self.parents)
        self.parents.extend(range(first, first + number))
        return list(range(first, first + number))

    def find(self, channel: Channel) -> Channel:
        root = channel
        while self.parents[root] != root:
            root = self.parents[root]
        self.parents[channel] = root
        return root

    def follow(self, op: Op, depthwise: Container[str]) -> list[Channel]:
        """The channels of an operation's output."""
        first = self.values[op.inputs[0]]
        match op:
            case Conv() | Linear():
                made = first if op.name in depthwise else self.make(op.output_shape.channels)
                self.layers.append((op, first, made))
                return made
            case Add() | Multiply():
                other = self.values[op.inputs[1]]
                if isinstance(op, Multiply):
                    self.gates.update(other)
                return self._unite(first, other)
            case Activate() | PoolWindow() | GlobalPool():
                return first
            case Concat():
                return [*first, *self.values[op.inputs[1]]]
            case ChannelSlice():
                return first[op.start : op.start + op.output_shape.channels]
            case ChannelShuffle():
                size = len(first) // op.groups
                return [first[group * size + i] for i in range(size) for group in range(op.groups)]
            case _:
                assert_never(op)

    def _unite(self, left: list[Channel], right: list[Channel]) -> list[Channel]:
        for one, other in zip(map(self.find, left), map(self.find, right), strict=True):
            # The earlier one stands for both, so that order is that of the first writer.
            self.parents[max(one, other)] = min(one, other)
        return left
