"""Costs against numbers worked out by hand from the definitions in ``costs.py``."""

import math

import pytest

from search_spaces import Architecture, count_costs
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
from search_spaces.costs import Costs, count_block_costs
from search_spaces.lowering import LoweredBlock, lower_block
from search_spaces.ops import Conv
from search_spaces.shapes import TensorShape


def costs(block: Block, channels: int, size: int) -> Costs:
    return count_block_costs(lower_block(block, TensorShape(channels, size, size)))


def test_convolution() -> None:
    block = ConvNormAct(out_channels=16, kernel=3, stride=2)
    assert costs(block, 8, 10) == Costs(
        madds=16 * 8 * 9 * 25,
        params=16 * 8 * 9 + 2 * 16,
        memory_access=8 * 100 + 16 * 25 + 16 * 8 * 9,
        peak_activation_bytes=4 * (8 * 100 + 16 * 25),
    )


def test_depthwise_and_pointwise() -> None:
    block = DepthwiseSeparable(out_channels=16, kernel=3)
    assert costs(block, 8, 10) == Costs(
        madds=8 * 9 * 100 + 8 * 16 * 100,
        params=(8 * 9 + 2 * 8) + (8 * 16 + 2 * 16),
        memory_access=(800 + 800 + 72) + (800 + 1600 + 128),
        peak_activation_bytes=4 * (800 + 1600),
    )


def test_depthwise_separable_saves_what_mobilenets_says() -> None:
    """MobileNets, section 3.1: 1/C_out + 1/K² of a full convolution."""
    full = costs(ConvNormAct(out_channels=64, kernel=5), 32, 14).madds
    separable = costs(DepthwiseSeparable(out_channels=64, kernel=5), 32, 14).madds
    assert separable / full == pytest.approx(1 / 64 + 1 / 25)


def test_squeeze_and_excite_in_a_residual() -> None:
    block = InvertedResidual(
        expanded_channels=8,
        out_channels=4,
        kernel=3,
        squeeze_excite=SqueezeExcite(channels=2),
        skip=Skip.IDENTITY,
    )
    expand, depthwise, project = 144 + 288 + 32, 288 + 288 + 72, 288 + 144 + 32
    squeeze, gate, add = (288 + 8) + (8 + 2 + 16) + (2 + 8 + 16), 288 + 8 + 288, 3 * 144
    assert costs(block, 4, 6) == Costs(
        madds=4 * 8 * 36 + 8 * 9 * 36 + 16 + 16 + 8 * 4 * 36,
        params=(32 + 16) + (72 + 16) + (16 + 2) + (16 + 8) + (32 + 8),
        memory_access=expand + depthwise + squeeze + gate + project + add,
        peak_activation_bytes=4 * (144 + 288 + 8 + 288),
    )


def test_shuffle_v1_unit() -> None:
    unit = ShuffleV1Unit(bottleneck_channels=6, out_channels=10, groups=3, input_groups=2, stride=2)
    reduce, shuffle, depthwise = 64 + 96 + 12, 2 * 96, 96 + 24 + 54
    expand, pool, concat = 24 + 24 + 12, 64 + 16, 16 + 24 + 40
    counted = costs(unit, 4, 4)
    assert counted.madds == 12 * 16 + 54 * 4 + 12 * 4
    assert counted.params == (12 + 12) + (54 + 12) + (12 + 12)
    assert counted.memory_access == reduce + shuffle + depthwise + expand + pool + concat


def test_shuffle_v2_unit_of_stride_one() -> None:
    counted = costs(ShuffleV2Unit(branch_channels=4, out_channels=8), 8, 3)
    slices, pointwise, depthwise = 2 * (36 + 36), 36 + 36 + 16, 36 + 36 + 36
    concat, shuffle = 36 + 36 + 72, 72 + 72
    assert counted.madds == 2 * 16 * 9 + 36 * 9
    assert counted.params == 2 * (16 + 8) + (36 + 8)
    assert counted.memory_access == slices + 2 * pointwise + depthwise + concat + shuffle


def test_shuffle_v2_unit_of_stride_two() -> None:
    counted = costs(ShuffleV2Unit(branch_channels=4, out_channels=8, stride=2), 4, 4)
    left = (64 + 16 + 36) + (16 + 16 + 16)
    right = (64 + 64 + 16) + (64 + 16 + 36) + (16 + 16 + 16)
    assert counted.madds == (36 * 4 + 16 * 4) + (16 * 16 + 36 * 4 + 16 * 4)
    assert counted.params == 3 * (16 + 8) + 2 * (36 + 8)
    assert counted.memory_access == left + right + (16 + 16 + 32) + (32 + 32)


def test_head() -> None:
    head = ClassifierHead(
        num_classes=3, hidden_channels=5, hidden_activation=Activation.H_SWISH, dropout=0.2
    )
    assert costs(head, 8, 3) == Costs(
        madds=8 * 5 + 5 * 3,
        params=(8 * 5 + 5) + (5 * 3 + 3),
        memory_access=(72 + 8) + (8 + 5 + 40) + (5 + 3 + 15),
        peak_activation_bytes=4 * (72 + 8),
    )


def test_a_pool_computes_nothing_but_moves_its_tensors() -> None:
    counted = costs(Pool(kind=PoolKind.MAX, kernel=3, stride=2), 4, 8)
    assert counted == Costs(
        madds=0, params=0, memory_access=4 * 64 + 4 * 16, peak_activation_bytes=4 * (256 + 64)
    )


def pointwise(c1: int, c2: int, groups: int = 1) -> LoweredBlock:
    shape = TensorShape(c1, 56, 56)
    conv = Conv(
        name="conv",
        inputs=("input",),
        output_shape=shape.with_channels(c2),
        in_channels=c1,
        kernel=1,
        stride=1,
        groups=groups,
        norm="norm",
    )
    return LoweredBlock("block", "input", shape, (conv,))


@pytest.mark.parametrize(
    ("c1", "c2", "memory_access"),
    [(128, 128, 819_200), (90, 180, 862_920), (52, 312, 1_157_728), (36, 432, 1_483_200)],
)
def test_equal_widths_minimise_memory_access(c1: int, c2: int, memory_access: int) -> None:
    """ShuffleNetV2, guideline G1 and Table 1: MAC ≥ 2·√(hw·B) + B/hw, with equality at c1 = c2."""
    counted = count_block_costs(pointwise(c1, c2))
    assert counted.memory_access == memory_access
    assert counted.madds == 56 * 56 * c1 * c2
    bound = 2 * math.sqrt(56 * 56 * counted.madds) + counted.madds / (56 * 56)
    assert (memory_access == bound) == (c1 == c2)
    assert memory_access >= bound


@pytest.mark.parametrize(
    ("groups", "channels", "memory_access"),
    [(1, 128, 819_200), (2, 180, 1_145_160), (4, 256, 1_622_016), (8, 360, 2_274_120)],
)
def test_groups_raise_memory_access(groups: int, channels: int, memory_access: int) -> None:
    """ShuffleNetV2, guideline G2 and Table 2: equal MAdds, more groups, more memory access."""
    counted = count_block_costs(pointwise(channels, channels, groups))
    assert counted.memory_access == memory_access
    assert counted.madds == 56 * 56 * channels * channels // groups
    assert counted.madds == pytest.approx(56 * 56 * 128 * 128, rel=0.02)


@pytest.mark.parametrize(
    ("skip", "values"),
    [
        (Skip.IDENTITY, 1024 + 6144 + 6144),  # the input waits for the addition
        (Skip.NONE, 6144 + 6144),
    ],
)
def test_peak_memory_of_an_inverted_residual(skip: Skip, values: int) -> None:
    block = InvertedResidual(expanded_channels=96, out_channels=16, kernel=3, skip=skip)
    assert costs(block, 16, 8).peak_activation_bytes == 4 * values


def test_an_activation_works_in_place() -> None:
    block = ConvNormAct(out_channels=96, kernel=1)
    assert costs(block, 8, 8).peak_activation_bytes == 4 * (8 * 64 + 96 * 64)


def test_a_network_sums_its_blocks_and_peaks_once() -> None:
    architecture = Architecture(
        name="tiny",
        blocks=(
            ConvNormAct(out_channels=8, kernel=3, stride=2),
            InvertedResidual(expanded_channels=48, out_channels=8, kernel=3, skip=Skip.IDENTITY),
            ClassifierHead(num_classes=10),
        ),
        resolution=16,
    )
    stem, residual = 3 * 8 * 9, 8 * 48 + 48 * 9 + 48 * 8
    counted = count_costs(architecture)
    assert counted.madds == (stem + residual) * 64 + 80
    assert counted.params == (stem + 16) + (residual + 2 * (48 + 48 + 8)) + 90
    assert counted.peak_activation_bytes == 4 * (8 * 64 + 48 * 64 + 48 * 64)
    assert [block.madds for block in counted.blocks] == [stem * 64, residual * 64, 80]
    assert counted.memory_access == sum(block.memory_access for block in counted.blocks)


def test_madds_of_convolutions_follow_the_image_and_parameters_do_not() -> None:
    block = ConvNormAct(out_channels=16, kernel=3)
    small, large = costs(block, 8, 10), costs(block, 8, 20)
    assert large.madds == 4 * small.madds
    assert large.params == small.params
