"""Block + input shape → output shape, and the rules that tie a block to its input."""

from dataclasses import dataclass
from typing import assert_never

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


@dataclass(frozen=True, slots=True)
class TensorShape:
    """One feature map, without the batch: ``(channels, height, width)``."""

    channels: int
    height: int
    width: int

    @property
    def values(self) -> int:
        return self.channels * self.height * self.width

    @property
    def pixels(self) -> int:
        return self.height * self.width

    def with_channels(self, channels: int) -> "TensorShape":
        return TensorShape(channels, self.height, self.width)

    def strided(self, stride: int) -> "TensorShape":
        """The shape after a window with "same" padding and ``stride``."""
        return TensorShape(
            self.channels, (self.height - 1) // stride + 1, (self.width - 1) // stride + 1
        )

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


def output_shape(block: Block, input_shape: TensorShape) -> TensorShape:
    """The shape that ``block`` makes of ``input_shape``.

    Raises:
        ValueError: the block cannot follow this input (a skip between unequal widths, groups that
            do not divide the channels, a split of an odd number of channels).
    """
    match block:
        case ConvNormAct() | DepthwiseSeparable() | InvertedResidual():
            _check_skip(block, input_shape)
            return input_shape.strided(block.stride).with_channels(block.out_channels)
        case ShuffleV1Unit():
            _check_shuffle_v1(block, input_shape)
            return input_shape.strided(block.stride).with_channels(block.out_channels)
        case ShuffleV2Unit():
            _check_shuffle_v2(block, input_shape)
            return input_shape.strided(block.stride).with_channels(block.out_channels)
        case Pool():
            return input_shape.strided(block.stride)
        case ClassifierHead():
            return TensorShape(block.num_classes, 1, 1)
        case _:
            assert_never(block)


def _check_skip(
    block: ConvNormAct | DepthwiseSeparable | InvertedResidual, input_shape: TensorShape
) -> None:
    name = type(block).__name__
    if block.skip is Skip.NONE:
        return
    if input_shape.channels != block.out_channels:
        raise ValueError(
            f"{name}.skip={block.skip} needs equal input and output channels, but the input has "
            f"{input_shape.channels} and out_channels={block.out_channels}; set skip to none or "
            "make the widths equal"
        )
    if block.skip is Skip.IDENTITY and block.stride != 1:
        raise ValueError(
            f"{name}.skip=identity needs stride 1, but got stride={block.stride}; "
            "set skip to none or pool"
        )


def _check_shuffle_v1(block: ShuffleV1Unit, input_shape: TensorShape) -> None:
    channels = input_shape.channels
    if channels % block.input_groups:
        raise ValueError(
            f"ShuffleV1Unit.input_groups must divide the input channels, but got "
            f"input_groups={block.input_groups} and {channels} input channels"
        )
    branch = shuffle_v1_branch_channels(block, channels)
    if branch < 1 or branch % block.groups:
        raise ValueError(
            f"ShuffleV1Unit: the branch must make a positive multiple of groups={block.groups} "
            f"channels, but out_channels={block.out_channels} leaves it {branch} "
            f"beside {channels} input channels"
        )
    if block.stride == 1 and channels != block.out_channels:
        raise ValueError(
            f"ShuffleV1Unit at stride 1 adds its input, so out_channels must equal the input's "
            f"{channels} channels, but got out_channels={block.out_channels}"
        )


def shuffle_v1_branch_channels(block: ShuffleV1Unit, input_channels: int) -> int:
    """Channels of the working branch: at stride 2 the pooled input supplies the rest."""
    return block.out_channels if block.stride == 1 else block.out_channels - input_channels


def _check_shuffle_v2(block: ShuffleV2Unit, input_shape: TensorShape) -> None:
    if block.stride == 1 and input_shape.channels != block.out_channels:
        raise ValueError(
            f"ShuffleV2Unit at stride 1 splits its input, so out_channels must equal the input's "
            f"{input_shape.channels} channels, but got out_channels={block.out_channels}"
        )
