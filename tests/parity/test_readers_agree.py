"""One description, four readers: torch, ONNX, costs and names agree on every seed."""

from collections.abc import Callable

import pytest

from search_spaces import Architecture, load_seed, seed_names
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

AssertReadersAgree = Callable[..., None]

AT_FULL_RESOLUTION = ("mobilenet_v3_small", "shufflenet_v1_g3", "shufflenet_v2_x1_0", "mnasnet_a1")


@pytest.mark.parametrize("name", seed_names())
def test_seed(name: str, assert_readers_agree: AssertReadersAgree) -> None:
    resolution = 224 if name in AT_FULL_RESOLUTION else 64
    assert_readers_agree(load_seed(name), resolution=resolution)


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("mobilenet_v2", 0.35),
        ("mnasnet_a1", 0.5),
        ("mobilenet_v3_large", 1.25),
        ("shufflenet_v1_g8", 0.5),
        ("shufflenet_v2_x1_0", 0.75),
    ],
)
def test_seed_of_another_width(
    name: str, width: float, assert_readers_agree: AssertReadersAgree
) -> None:
    assert_readers_agree(load_seed(name, width), resolution=64)


UNUSUAL_BLOCKS: dict[str, tuple[Block, ...]] = {
    "pooling skips": (
        ConvNormAct(out_channels=16, kernel=3, stride=2, skip=Skip.NONE),
        ConvNormAct(out_channels=16, kernel=5, skip=Skip.POOL),
        DepthwiseSeparable(out_channels=16, kernel=3, stride=2, skip=Skip.POOL),
        InvertedResidual(expanded_channels=40, out_channels=16, kernel=3, skip=Skip.POOL),
    ),
    "every activation": (
        ConvNormAct(out_channels=16, kernel=3, activation=Activation.SWISH),
        ConvNormAct(out_channels=16, kernel=1, activation=Activation.IDENTITY),
        DepthwiseSeparable(
            out_channels=24,
            kernel=7,
            activation=Activation.RELU6,
            output_activation=Activation.H_SWISH,
        ),
    ),
    "squeeze-and-excite everywhere": (
        ConvNormAct(
            out_channels=16,
            kernel=3,
            stride=2,
            squeeze_excite=SqueezeExcite(channels=5, activation=Activation.SWISH),
            skip=Skip.NONE,
        ),
        DepthwiseSeparable(
            out_channels=16,
            kernel=3,
            squeeze_excite=SqueezeExcite(channels=4, gate=Activation.HARD_SIGMOID),
            skip=Skip.IDENTITY,
        ),
    ),
    "pools and shuffle units": (
        Pool(kind=PoolKind.AVERAGE, kernel=3, stride=2),
        ConvNormAct(out_channels=12, kernel=3),
        Pool(kind=PoolKind.MAX, kernel=5, stride=1),
        ShuffleV1Unit(bottleneck_channels=12, out_channels=36, groups=3, input_groups=2, stride=2),
        ShuffleV1Unit(bottleneck_channels=8, out_channels=36, groups=4, input_groups=1, kernel=5),
        ShuffleV2Unit(branch_channels=7, out_channels=40, stride=2, kernel=5),
        ShuffleV2Unit(branch_channels=33, out_channels=40, activation=Activation.H_SWISH),
    ),
}


@pytest.mark.parametrize("resolution", [32, 37])
@pytest.mark.parametrize("blocks", UNUSUAL_BLOCKS.values(), ids=UNUSUAL_BLOCKS)
def test_what_no_seed_has(
    blocks: tuple[Block, ...], resolution: int, assert_readers_agree: AssertReadersAgree
) -> None:
    head = ClassifierHead(
        num_classes=10, hidden_channels=24, hidden_activation=Activation.SWISH, dropout=0.5
    )
    architecture = Architecture(
        name="unusual", blocks=(*blocks, head), image_channels=4, norm_epsilon=0.01
    )
    assert_readers_agree(architecture, resolution=resolution)
