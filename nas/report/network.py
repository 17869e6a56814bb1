"""A network block by block, with the milliseconds of each: what is drawn of it, as plain data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from latency.context import walk_in_context
from latency.reach import Step
from latency.table import PS_PER_MS, LatencyTable, MissingEntryError
from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
)
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.yaml_io import BLOCK_TYPES

_TYPE_NAMES = {block_type: name for name, block_type in BLOCK_TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What of a block its place in a network does not say. ``None``: it has no such thing.

    Attributes:
        inside: the width inside: of the expansion of an inverted residual, the bottleneck or the
            branch of a ShuffleNet's unit, the hidden layer of the head.
        out: the width of the output; of a head, the classes.
        squeeze_excite: the width of its bottleneck.
        gate: the function that squeeze-and-excite ends with.
        kernel: in pixels; of several layers, that of the depthwise one.
    """

    inside: int | None = None
    out: int | None = None
    squeeze_excite: int | None = None
    gate: str | None = None
    kernel: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRow:
    """A block of a network, as it is drawn.

    Attributes:
        block: its index.
        type: as in the network's YAML.
        input, output: the feature maps that it reads and writes.
        skip: what is added to its output; ``None``: nothing.
        activation: ``None`` where it has none of its own.
        latency_ms: what it adds to its network, by the table; ``None`` where the table lacks it.
    """

    block: int
    type: str
    layer: Layer
    input: TensorShape
    output: TensorShape
    stride: int
    skip: str | None
    activation: str | None
    latency_ms: float | None

    @property
    def expansion(self) -> float | None:
        """The width inside over that of the input, of an inverted residual."""
        if self.type != _TYPE_NAMES[InvertedResidual] or self.layer.inside is None:
            return None
        return self.layer.inside / self.input.channels

    @property
    def widths(self) -> tuple[int, int, int]:
        """Channels that it reads, has inside, and writes; the widest of both where it says none."""
        low, high = self.input.channels, self.output.channels
        return low, self.layer.inside or max(low, high), high


def block_rows(network: Architecture, table: LatencyTable | None) -> list[BlockRow]:
    """Every block of a network, from stem to head.

    Args:
        table: predicts single blocks; without it there are no latencies.
    """
    return [_row(index, step, table) for index, step in enumerate(walk_in_context(network))]


def total_ms(rows: Sequence[BlockRow]) -> float | None:
    """What the blocks take together; ``None`` where the table lacks one."""
    found = [row.latency_ms for row in rows]
    known = [latency_ms for latency_ms in found if latency_ms is not None]
    return sum(known) if len(known) == len(found) else None


def _row(index: int, step: Step, table: LatencyTable | None) -> BlockRow:
    block, shape, _ = step
    return BlockRow(
        block=index,
        type=_TYPE_NAMES[type(block)],
        layer=layer_of(block),
        input=shape,
        output=output_shape(block, shape),
        stride=1 if isinstance(block, ClassifierHead) else block.stride,
        skip=_skip(block),
        activation=_activation(block),
        latency_ms=_latency_ms(step, table),
    )


def layer_of(block: Block) -> Layer:
    """A block's widths, kernel and squeeze-and-excite."""
    match block:
        case ConvNormAct() | DepthwiseSeparable():
            return _convolutional(block)
        case InvertedResidual():
            return _convolutional(block, block.expanded_channels)
        case ShuffleV1Unit():
            return Layer(
                inside=block.bottleneck_channels, out=block.out_channels, kernel=block.kernel
            )
        case ShuffleV2Unit():
            return Layer(inside=block.branch_channels, out=block.out_channels, kernel=block.kernel)
        case Pool():
            return Layer(kernel=block.kernel)
        case ClassifierHead():
            return Layer(inside=block.hidden_channels, out=block.num_classes)
        case _:
            assert_never(block)


def _convolutional(
    block: ConvNormAct | DepthwiseSeparable | InvertedResidual, inside: int | None = None
) -> Layer:
    squeeze = block.squeeze_excite
    return Layer(
        inside=inside,
        out=block.out_channels,
        squeeze_excite=None if squeeze is None else squeeze.channels,
        gate=None if squeeze is None else str(squeeze.gate),
        kernel=block.kernel,
    )


def _skip(block: Block) -> str | None:
    match block:
        case ConvNormAct() | DepthwiseSeparable() | InvertedResidual():
            return None if block.skip is Skip.NONE else str(block.skip)
        case ShuffleV1Unit() | ShuffleV2Unit() | Pool() | ClassifierHead():
            return None
        case _:
            assert_never(block)


def _activation(block: Block) -> str | None:
    match block:
        case Pool():
            return None
        case ClassifierHead():
            return None if block.hidden_channels is None else str(block.hidden_activation)
        case _:
            return str(block.activation)


def _latency_ms(step: Step, table: LatencyTable | None) -> float | None:
    if table is None:
        return None
    try:
        return table.block_cost_ps(*step) / PS_PER_MS
    except MissingEntryError:
        return None
