"""The width multiplier α (MobileNets, section 3.3), as each family applies it."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

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
    SqueezeExcite,
)
from search_spaces.shapes import output_shape


class SqueezeRule(StrEnum):
    """How the width of a squeeze-and-excite bottleneck follows α."""

    QUARTER_OF_INPUT = "quarter_of_input"
    QUARTER_OF_EXPANSION = "quarter_of_expansion"


class LastRule(StrEnum):
    """How the last layer before the classifier follows α: the head's hidden one, else a conv."""

    SCALED = "scaled"
    NEVER_NARROWED = "never_narrowed"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthRule:
    """A family's rule for the width multiplier. Expansion factors are always kept."""

    divisor: int = 8
    squeeze: SqueezeRule = SqueezeRule.QUARTER_OF_EXPANSION
    last_layer: LastRule = LastRule.SCALED


def round_channels(channels: float, divisor: int = 8) -> int:
    """``channels`` to the nearest multiple of ``divisor``, at least one, never below 90 %."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def check_width(width: object) -> float:
    """``width`` as a float; ``ValueError`` unless 0 < width ≤ 16."""
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= 16:
        raise ValueError(f"width must be a number in 0 < width ≤ 16, but got {width!r}")
    return float(width)


def scale_width(architecture: Architecture, width: float, rule: WidthRule) -> Architecture:
    """The network with its channel counts multiplied by ``width`` under the family's rule.

    Raises:
        ValueError: ``width`` is not in 0 < width ≤ 16, or a block cannot be scaled so.
    """
    width = check_width(width)
    if width == 1.0:
        return architecture
    blocks: list[Block] = []
    shape = architecture.input_shape
    for index, (block, old_shape) in enumerate(architecture.walk()):
        is_last = index == len(architecture.blocks) - (2 if _head_is_bare(architecture) else 1)
        block_width = _last_width(width, rule) if is_last else width
        scaled = _scale_block(block, old_shape.channels, shape.channels, block_width, rule)
        blocks.append(scaled)
        shape = output_shape(scaled, shape)
    return replace(architecture, name=f"{architecture.name}_x{width:g}", blocks=tuple(blocks))


def _head_is_bare(architecture: Architecture) -> bool:
    """Whether the last scalable layer is the 1×1 convolution before the head."""
    last = architecture.blocks[-2] if len(architecture.blocks) > 1 else None
    return architecture.head.hidden_channels is None and isinstance(last, ConvNormAct)


def _last_width(width: float, rule: WidthRule) -> float:
    match rule.last_layer:
        case LastRule.SCALED:
            return width
        case LastRule.NEVER_NARROWED:
            return max(1.0, width)
        case LastRule.FIXED:
            return 1.0
        case _:
            assert_never(rule.last_layer)


def _scale_block(
    block: Block, old_input: int, new_input: int, width: float, rule: WidthRule
) -> Block:
    def scaled(channels: int) -> int:
        return round_channels(channels * width, rule.divisor)

    match block:
        case ConvNormAct() | DepthwiseSeparable():
            expanded = scaled(block.out_channels) if isinstance(block, ConvNormAct) else new_input
            return replace(
                block,
                out_channels=scaled(block.out_channels),
                squeeze_excite=_scale_squeeze(block.squeeze_excite, new_input, expanded, rule),
            )
        case InvertedResidual():
            ratio = block.expanded_channels / old_input
            expanded = round_channels(new_input * ratio, rule.divisor)
            return replace(
                block,
                expanded_channels=expanded,
                out_channels=scaled(block.out_channels),
                squeeze_excite=_scale_squeeze(block.squeeze_excite, new_input, expanded, rule),
            )
        case ShuffleV1Unit():
            return _scale_shuffle_v1(block, width)
        case ShuffleV2Unit():
            out_channels = scaled(block.out_channels)
            branch_channels = out_channels * block.branch_channels // block.out_channels
            return replace(block, out_channels=out_channels, branch_channels=branch_channels)
        case ClassifierHead():
            if block.hidden_channels is None:
                return block
            return replace(block, hidden_channels=scaled(block.hidden_channels))
        case Pool():
            return block
        case _:
            assert_never(block)


def _scale_squeeze(
    squeeze_excite: SqueezeExcite | None, new_input: int, expanded: int, rule: WidthRule
) -> SqueezeExcite | None:
    if squeeze_excite is None:
        return None
    if rule.squeeze is SqueezeRule.QUARTER_OF_INPUT:
        return replace(squeeze_excite, channels=new_input // 4)
    return replace(squeeze_excite, channels=round_channels(expanded / 4))


def _scale_shuffle_v1(block: ShuffleV1Unit, width: float) -> ShuffleV1Unit:
    """The bottleneck keeps its share of the output, and every group a whole number of channels."""
    out_channels = round_channels(block.out_channels * width, 4 * block.groups)
    bottleneck = out_channels * block.bottleneck_channels // block.out_channels
    return replace(block, out_channels=out_channels, bottleneck_channels=bottleneck)
