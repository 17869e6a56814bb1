"""Block + input shape → output shape, and what cannot follow what."""

import pytest
import torch

from search_spaces.blocks import (
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
)
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.torch_model import build_block


def shuffle_v1(out_channels: int, *, stride: int = 1, input_groups: int = 3) -> ShuffleV1Unit:
    return ShuffleV1Unit(
        bottleneck_channels=60,
        out_channels=out_channels,
        groups=3,
        input_groups=input_groups,
        stride=stride,
    )


def test_a_shape_counts_its_values() -> None:
    shape = TensorShape(16, 7, 5)
    assert (shape.values, shape.pixels, str(shape)) == (560, 35, "16x7x5")


@pytest.mark.parametrize(
    ("size", "stride", "expected"), [(224, 2, 112), (7, 2, 4), (7, 1, 7), (1, 2, 1), (2, 2, 1)]
)
def test_same_padding_rounds_up(size: int, stride: int, expected: int) -> None:
    assert TensorShape(3, size, size).strided(stride) == TensorShape(3, expected, expected)


BLOCKS: list[tuple[Block, tuple[int, int, int]]] = [
    (ConvNormAct(out_channels=16, kernel=3, stride=2), (16, 8, 7)),
    (DepthwiseSeparable(out_channels=16, kernel=5), (16, 15, 13)),
    (InvertedResidual(expanded_channels=48, out_channels=20, kernel=7, stride=2), (20, 8, 7)),
    (InvertedResidual(expanded_channels=48, out_channels=24, kernel=3, skip=Skip.IDENTITY),
     (24, 15, 13)),
    (InvertedResidual(expanded_channels=48, out_channels=24, kernel=3, stride=2, skip=Skip.POOL),
     (24, 8, 7)),
    (shuffle_v1(240, stride=2, input_groups=1), (240, 8, 7)),
    (shuffle_v1(24), (24, 15, 13)),
    (ShuffleV2Unit(branch_channels=58, out_channels=116, stride=2), (116, 8, 7)),
    (ShuffleV2Unit(branch_channels=5, out_channels=24, kernel=5), (24, 15, 13)),
    (Pool(kind=PoolKind.MAX, kernel=3, stride=2), (24, 8, 7)),
    (Pool(kind=PoolKind.AVERAGE, kernel=5), (24, 15, 13)),
    (ClassifierHead(num_classes=10), (10, 1, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("block", "expected"), BLOCKS)
def test_output_shape_is_that_of_the_torch_module(
    block: Block, expected: tuple[int, int, int]
) -> None:
    shape = TensorShape(24, 15, 13)
    assert output_shape(block, shape) == TensorShape(*expected)
    made = build_block(block, 24).eval()(torch.zeros(1, 24, 15, 13))
    assert tuple(made.shape[1:]) == (expected if made.dim() == 4 else expected[:1])


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            InvertedResidual(expanded_channels=48, out_channels=16, kernel=3, skip=Skip.IDENTITY),
            "skip=identity needs equal input and output channels, but the input has 24 and "
            "out_channels=16; set skip to none",
        ),
        (
            DepthwiseSeparable(out_channels=16, kernel=3, skip=Skip.POOL),
            "skip=pool needs equal .* the input has 24 and out_channels=16",
        ),
        (
            ConvNormAct(out_channels=24, kernel=3, stride=2, skip=Skip.IDENTITY),
            "skip=identity needs stride 1, but got stride=2; set skip to none or pool",
        ),
        (shuffle_v1(240, stride=2, input_groups=5), "input_groups=5 and 24 input channels"),
        (shuffle_v1(240), "out_channels must equal the input's 24 channels, but got .*=240"),
        (shuffle_v1(24, stride=2), "out_channels=24 leaves it 0 beside 24 input channels"),
        (shuffle_v1(25, stride=2), "groups=3 channels, but out_channels=25 leaves it 1"),
        (
            ShuffleV2Unit(branch_channels=8, out_channels=26),
            "out_channels must equal the input's 24 channels, but got out_channels=26",
        ),
    ],
)
def test_what_cannot_follow_is_refused(block: Block, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        output_shape(block, TensorShape(24, 15, 13))
