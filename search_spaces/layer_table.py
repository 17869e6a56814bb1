"""A network's layers, as the papers' tables print them."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import assert_never

from search_spaces.architecture import Architecture
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
from search_spaces.shapes import TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """A line of a paper's table.

    Attributes:
        inside: the width within the block: expansion, bottleneck or branch channels.
        groups: of the pointwise layers; both where the first is grouped otherwise.
        squeeze_excite: the width of its bottleneck.
        nonlinearity: RE, RE6, HS and SW are ReLU, ReLU6, h-swish and swish.
    """

    input_shape: TensorShape
    operator: str
    inside: int | None = None
    out: int | None = None
    groups: str | None = None
    squeeze_excite: int | None = None
    nonlinearity: str | None = None
    stride: int = 1
    skip: str | None = None


def layer_rows(network: Architecture) -> list[tuple[LayerRow, int]]:
    """The network's layers in order, each with how often it stands there in a row."""
    blocks = (tuple(_layers(block, shape)) for block, shape in network.walk())
    folded = ((rows, len(list(equal))) for rows, equal in groupby(blocks))
    return [(row, count) for rows, count in folded for row in rows]


_NONLINEARITY = {
    Activation.RELU: "RE",
    Activation.RELU6: "RE6",
    Activation.SWISH: "SW",
    Activation.H_SWISH: "HS",
}


def _layers(block: Block, shape: TensorShape) -> Iterator[LayerRow]:
    match block:
        case ConvNormAct():
            yield _convolutional_layer(block, shape, "conv2d")
        case InvertedResidual():
            yield _convolutional_layer(block, shape, "bneck", block.expanded_channels)
        case DepthwiseSeparable():
            yield from _depthwise_separable_layers(block, shape)
        case ShuffleV1Unit() | ShuffleV2Unit():
            yield _shuffle_layer(block, shape)
        case Pool():
            kind = "maxpool" if block.kind is PoolKind.MAX else "avgpool"
            operator = f"{kind}, {_window(block.kernel)}"
            yield LayerRow(input_shape=shape, operator=operator, stride=block.stride)
        case ClassifierHead():
            yield from _head_layers(block, shape)
        case _:
            assert_never(block)


def _convolutional_layer(
    block: ConvNormAct | InvertedResidual,
    shape: TensorShape,
    operator: str,
    inside: int | None = None,
) -> LayerRow:
    return LayerRow(
        input_shape=shape,
        operator=f"{operator}, {_window(block.kernel)}",
        inside=inside,
        out=block.out_channels,
        squeeze_excite=_squeeze(block.squeeze_excite),
        nonlinearity=_NONLINEARITY.get(block.activation),
        stride=block.stride,
        skip=_skip(block.skip),
    )


def _depthwise_separable_layers(
    block: DepthwiseSeparable, shape: TensorShape
) -> Iterator[LayerRow]:
    """One line where it is a bottleneck of expansion 1, two as in MobileNets, Table 1, else."""
    window, nonlinearity = _window(block.kernel), _NONLINEARITY.get(block.activation)
    linear = block.output_activation is Activation.IDENTITY
    yield LayerRow(
        input_shape=shape,
        operator=f"bneck, {window}" if linear else f"conv dw, {window}",
        inside=shape.channels if linear else None,
        out=block.out_channels if linear else shape.channels,
        squeeze_excite=_squeeze(block.squeeze_excite),
        nonlinearity=nonlinearity,
        stride=block.stride,
        skip=_skip(block.skip) if linear else None,
    )
    if not linear:
        yield LayerRow(
            input_shape=shape.strided(block.stride),
            operator="conv2d, 1x1",
            out=block.out_channels,
            nonlinearity=_NONLINEARITY.get(block.output_activation),
            skip=_skip(block.skip),
        )


def _shuffle_layer(block: ShuffleV1Unit | ShuffleV2Unit, shape: TensorShape) -> LayerRow:
    if isinstance(block, ShuffleV1Unit):
        version, inside = 1, block.bottleneck_channels
        groups = ", ".join(map(str, dict.fromkeys((block.input_groups, block.groups))))
    else:
        version, inside, groups = 2, block.branch_channels, None
    return LayerRow(
        input_shape=shape,
        operator=f"shuffle v{version}, {_window(block.kernel)}",
        inside=inside,
        out=block.out_channels,
        groups=groups,
        nonlinearity=_NONLINEARITY.get(block.activation),
        stride=block.stride,
    )


def _head_layers(block: ClassifierHead, shape: TensorShape) -> Iterator[LayerRow]:
    yield LayerRow(input_shape=shape, operator=f"pool, {shape.height}x{shape.width}")
    pooled, operator = TensorShape(shape.channels, 1, 1), "conv2d 1x1, NBN"
    if block.hidden_channels is not None:
        yield LayerRow(
            input_shape=pooled,
            operator=operator,
            out=block.hidden_channels,
            nonlinearity=_NONLINEARITY.get(block.hidden_activation),
        )
        pooled = pooled.with_channels(block.hidden_channels)
    yield LayerRow(input_shape=pooled, operator=operator, out=block.num_classes)


def _window(kernel: int) -> str:
    return f"{kernel}x{kernel}"


def _squeeze(squeeze_excite: SqueezeExcite | None) -> int | None:
    return None if squeeze_excite is None else squeeze_excite.channels


def _skip(skip: Skip) -> str | None:
    return None if skip is Skip.NONE else str(skip)
