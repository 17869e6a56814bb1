"""Block → operations: which, in which order, and under which names."""

import pytest

from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.lowering import LoweredBlock, lower, lower_block
from search_spaces.ops import ChannelShuffle, ChannelSlice, Conv, PoolWindow
from search_spaces.shapes import TensorShape

SHAPE = TensorShape(24, 14, 14)


def names(block: LoweredBlock) -> list[str]:
    return [f"{type(op).__name__} {op.name.removeprefix('block.')}" for op in block.ops]


def test_an_inverted_residual_with_everything() -> None:
    block = InvertedResidual(
        expanded_channels=72,
        out_channels=24,
        kernel=5,
        squeeze_excite=SqueezeExcite(channels=8, gate=Activation.HARD_SIGMOID),
        skip=Skip.IDENTITY,
    )
    lowered = lower_block(block, SHAPE)
    assert names(lowered) == [
        "Conv expand.conv",
        "Activate expand.activation",
        "Conv depthwise.conv",
        "Activate depthwise.activation",
        "GlobalPool squeeze_excite.pool",
        "Conv squeeze_excite.reduce",
        "Activate squeeze_excite.activation",
        "Conv squeeze_excite.expand",
        "Activate squeeze_excite.gate",
        "Multiply squeeze_excite.multiply",
        "Conv project.conv",
        "Add add",
    ]
    assert lowered.ops[-1].inputs == ("block.project.conv", "input")
    depthwise, reduce = lowered.ops[2], lowered.ops[5]
    assert isinstance(depthwise, Conv)
    assert isinstance(reduce, Conv)
    assert (depthwise.groups, depthwise.in_channels, depthwise.kernel) == (72, 72, 5)
    assert depthwise.norm == "block.depthwise.norm"
    assert reduce.norm is None


def test_the_identity_activation_is_no_operation() -> None:
    block = DepthwiseSeparable(out_channels=16, kernel=3, activation=Activation.IDENTITY)
    assert names(lower_block(block, SHAPE)) == ["Conv depthwise.conv", "Conv pointwise.conv"]


def test_a_pooling_skip_pools_at_the_stride_of_the_block() -> None:
    block = ConvNormAct(out_channels=24, kernel=3, stride=2, skip=Skip.POOL)
    *_, pool, add = lower_block(block, SHAPE).ops
    assert isinstance(pool, PoolWindow)
    assert (pool.kernel, pool.stride, pool.inputs) == (3, 2, ("input",))
    assert add.inputs == ("block.unit.activation", pool.name)
    assert add.output_shape == pool.output_shape == TensorShape(24, 7, 7)


def test_shuffle_v1_shuffles_between_its_grouped_layers() -> None:
    unit = ShuffleV1Unit(
        bottleneck_channels=60, out_channels=240, groups=3, input_groups=1, stride=2
    )
    lowered = lower_block(unit, SHAPE)
    assert names(lowered) == [
        "Conv reduce.conv",
        "Activate reduce.activation",
        "ChannelShuffle shuffle",
        "Conv depthwise.conv",
        "Conv expand.conv",
        "PoolWindow skip_pool",
        "Concat concat",
        "Activate activation",
    ]
    first, *_ = lowered.ops
    expand, concat = lowered.ops[4], lowered.ops[6]
    assert isinstance(first, Conv)
    assert isinstance(expand, Conv)
    assert (first.groups, expand.groups) == (1, 3)
    # The pooled input stands first and supplies 24 of the 240 channels.
    assert expand.output_shape.channels == 216
    assert concat.inputs == ("block.skip_pool", "block.expand.conv")


def test_shuffle_v1_without_groups_shuffles_nothing() -> None:
    unit = ShuffleV1Unit(bottleneck_channels=6, out_channels=24, groups=1, input_groups=1)
    lowered = lower_block(unit, SHAPE)
    assert not any(isinstance(op, ChannelShuffle) for op in lowered.ops)
    assert names(lowered)[-2:] == ["Add add", "Activate activation"]


def test_shuffle_v2_leaves_its_left_half_untouched() -> None:
    lowered = lower_block(ShuffleV2Unit(branch_channels=10, out_channels=24), SHAPE)
    left, right, *_, concat, shuffle = lowered.ops
    assert isinstance(left, ChannelSlice)
    assert isinstance(right, ChannelSlice)
    assert (left.start, right.start, left.output_shape.channels) == (0, 12, 12)
    assert concat.inputs == (left.name, "block.expand.activation")
    assert isinstance(shuffle, ChannelShuffle)
    assert shuffle.groups == 2


def test_shuffle_v2_of_stride_two_has_two_working_branches() -> None:
    unit = ShuffleV2Unit(branch_channels=58, out_channels=116, stride=2)
    strided = [
        op.name
        for op in lower_block(unit, SHAPE).ops
        if isinstance(op, Conv) and op.stride == 2 and op.groups > 1
    ]
    assert strided == ["block.left_depthwise.conv", "block.depthwise.conv"]


def test_the_efficient_last_stage_pools_before_its_hidden_layer() -> None:
    head = ClassifierHead(hidden_channels=1280, hidden_activation=Activation.H_SWISH)
    assert names(lower_block(head, SHAPE)) == [
        "GlobalPool pool",
        "Linear hidden",
        "Activate activation",
        "Linear classifier",
    ]


@pytest.mark.parametrize("name", seed_names())
def test_operations_read_what_was_made_before_them(name: str) -> None:
    made = {"input": load_seed(name).input_shape}
    for block in lower(load_seed(name)):
        assert block.input_shape == made[block.input_name]
        for op in block.ops:
            assert set(op.inputs) <= made.keys()
            assert op.name.startswith(f"{block.name}.")
            assert op.name not in made
            if isinstance(op, Conv):
                assert op.in_channels == made[op.inputs[0]].channels
                assert op.in_channels % op.groups == op.output_shape.channels % op.groups == 0
            made[op.name] = op.output_shape


def test_a_block_that_cannot_follow_is_refused() -> None:
    with pytest.raises(ValueError, match="skip=identity needs equal"):
        lower_block(ConvNormAct(out_channels=8, kernel=1, skip=Skip.IDENTITY), SHAPE)


def test_blocks_are_chained() -> None:
    architecture = Architecture(
        name="tiny",
        blocks=(
            ConvNormAct(out_channels=8, kernel=3, activation=Activation.IDENTITY),
            ClassifierHead(num_classes=2),
        ),
        resolution=8,
    )
    stem, head = lower(architecture)
    assert (stem.input_name, head.input_name) == ("input", "blocks.0.unit.conv")
    assert head.ops[0].inputs == ("blocks.0.unit.conv",)
    assert head.output_name == "blocks.1.classifier"
