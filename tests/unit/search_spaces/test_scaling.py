"""The width multiplier: known roundings, and each family's rule."""

import pytest

from search_spaces import Architecture, load_seed
from search_spaces.blocks import (
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV1Unit,
    ShuffleV2Unit,
)
from search_spaces.scaling import WidthRule, round_channels, scale_width


@pytest.mark.parametrize(
    ("channels", "rounded"),
    [
        (83, 80),  # the two examples of torchvision's documentation
        (84, 88),
        (16, 16),
        (12, 16),
        (18, 24),  # 16 would be below 90 %
        (11.2, 16),
        (448, 448),
        (1, 8),
        (576 / 4, 144),
        (120 / 4, 32),
    ],
)
def test_round_channels(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


@pytest.mark.parametrize(("channels", "divisor", "rounded"), [(58.0, 4, 60), (116, 1, 116)])
def test_round_channels_to_another_divisor(channels: float, divisor: int, rounded: int) -> None:
    assert round_channels(channels, divisor) == rounded


def last_channels(network: Architecture) -> int:
    if network.head.hidden_channels is not None:
        return network.head.hidden_channels
    last = network.blocks[-2]
    assert isinstance(last, ConvNormAct | DepthwiseSeparable)
    return last.out_channels


@pytest.mark.parametrize(
    ("name", "width", "channels"),
    [
        ("mobilenet_v1", 0.25, 256),
        ("mobilenet_v2", 0.5, 1280),  # never below 1280
        ("mobilenet_v2", 1.4, 1792),
        ("mobilenet_v3_large", 0.75, 1280),
        ("mobilenet_v3_large", 1.25, 1600),
        ("mobilenet_v3_small", 0.75, 1024),
        ("mnasnet_a1", 1.4, 1280),  # always 1280
        ("shufflenet_v2_x1_0", 0.25, 1024),
        ("shufflenet_v2_x1_0", 2.0, 2048),  # the published network, by its own table
    ],
)
def test_the_last_layer_follows_its_family(name: str, width: float, channels: int) -> None:
    assert last_channels(load_seed(name, width)) == channels


def test_mobilenet_v2_at_three_quarters() -> None:
    network = load_seed("mobilenet_v2", 0.75)
    residuals = [b for b in network.blocks if isinstance(b, InvertedResidual)]
    assert network.name == "mobilenet_v2_x0.75"
    stem, first = network.blocks[:2]
    assert isinstance(stem, ConvNormAct)
    assert isinstance(first, DepthwiseSeparable)
    assert (stem.out_channels, first.out_channels) == (24, 16)
    assert [b.out_channels for b in residuals] == (
        [24] * 2 + [24] * 3 + [48] * 4 + [72] * 3 + [120] * 3 + [240]
    )
    widths = [16, *(b.out_channels for b in residuals)]
    assert [b.expanded_channels for b in residuals] == [6 * width for width in widths[:-1]]


def squeezes(network: Architecture) -> list[int]:
    return [
        block.squeeze_excite.channels
        for block in network.blocks
        if isinstance(block, InvertedResidual) and block.squeeze_excite is not None
    ]


def test_squeeze_is_a_quarter_of_the_input_in_mnasnet() -> None:
    # Inputs at half width: 16, 24, 24, 40, 56, 56, 80, 80.
    assert squeezes(load_seed("mnasnet_a1", 0.5)) == [4, 6, 6, 10, 14, 14, 20, 20]


def test_squeeze_is_a_rounded_quarter_of_the_expansion_in_mobilenet_v3() -> None:
    network = load_seed("mobilenet_v3_large", 0.75)
    expanded = [
        block.expanded_channels
        for block in network.blocks
        if isinstance(block, InvertedResidual) and block.squeeze_excite is not None
    ]
    assert expanded == [72, 96, 96, 384, 528, 528, 720, 720]
    assert squeezes(network) == [24, 24, 24, 96, 136, 136, 184, 184]


def test_shuffle_units_keep_their_shape() -> None:
    v1 = load_seed("shufflenet_v1_g3", 0.5)
    assert [
        (b.bottleneck_channels, b.out_channels) for b in v1.blocks if isinstance(b, ShuffleV1Unit)
    ] == [(30, 120)] * 4 + [(60, 240)] * 8 + [(120, 480)] * 4
    v2 = load_seed("shufflenet_v2_x1_0", 0.25)
    assert all(
        b.branch_channels * 2 == b.out_channels for b in v2.blocks if isinstance(b, ShuffleV2Unit)
    )


def test_width_one_changes_nothing() -> None:
    network = load_seed("mnasnet_a1")
    assert scale_width(network, 1.0, WidthRule()) is network


def test_a_network_of_a_head_alone_scales() -> None:
    head = ClassifierHead(num_classes=10)
    network = Architecture(name="linear", blocks=(head,))
    assert scale_width(network, 0.5, WidthRule()).blocks == (head,)


@pytest.mark.parametrize("width", [0, -1, 16.5, float("nan"), float("inf"), True, "0.5", None])
def test_bad_widths_are_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width must be a number in 0 < width ≤ 16, but got"):
        scale_width(load_seed("mobilenet_v2"), width, WidthRule())
