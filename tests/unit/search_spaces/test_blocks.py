"""Every rule of the blocks: the message names the field and the value."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest

from search_spaces.architecture import MAX_BLOCKS, Architecture
from search_spaces.blocks import (
    MAX_CHANNELS,
    Activation,
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

VALID: dict[Callable[..., Any], dict[str, Any]] = {
    SqueezeExcite: {"channels": 8},
    ConvNormAct: {"out_channels": 16, "kernel": 3},
    DepthwiseSeparable: {"out_channels": 16, "kernel": 3},
    InvertedResidual: {"expanded_channels": 64, "out_channels": 16, "kernel": 3},
    ShuffleV1Unit: {
        "bottleneck_channels": 60,
        "out_channels": 240,
        "groups": 3,
        "input_groups": 3,
    },
    ShuffleV2Unit: {"branch_channels": 58, "out_channels": 116},
    Pool: {"kind": PoolKind.MAX, "kernel": 3},
    ClassifierHead: {},
}
CHANNEL_FIELDS = [
    (SqueezeExcite, "channels"),
    (ConvNormAct, "out_channels"),
    (DepthwiseSeparable, "out_channels"),
    (InvertedResidual, "out_channels"),
    (InvertedResidual, "expanded_channels"),
    (ShuffleV1Unit, "bottleneck_channels"),
    (ShuffleV1Unit, "out_channels"),
    (ShuffleV1Unit, "groups"),
    (ShuffleV1Unit, "input_groups"),
    (ShuffleV2Unit, "branch_channels"),
    (ShuffleV2Unit, "out_channels"),
    (ClassifierHead, "num_classes"),
    (ClassifierHead, "hidden_channels"),
]
WINDOWED = [
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Pool,
]
ACTIVATION_FIELDS = [
    (SqueezeExcite, "activation"),
    (ConvNormAct, "activation"),
    (DepthwiseSeparable, "activation"),
    (DepthwiseSeparable, "output_activation"),
    (InvertedResidual, "activation"),
    (ShuffleV1Unit, "activation"),
    (ShuffleV2Unit, "activation"),
]
CONVOLUTIONAL = [ConvNormAct, DepthwiseSeparable, InvertedResidual]


def assert_refused(
    block_type: Callable[..., Any], field: str, value: object, rule: str, *, got: str = ""
) -> None:
    owner = block_type.__name__
    got = got or repr(value)
    with pytest.raises(ValueError, match=rf"{owner}\.{field} {rule}.* but got .*{re.escape(got)}"):
        block_type(**{**VALID[block_type], field: value})


@pytest.mark.parametrize("block_type", VALID)
def test_a_block_is_a_frozen_value(block_type: Callable[..., Any]) -> None:
    block = block_type(**VALID[block_type])
    assert block == block_type(**VALID[block_type])
    assert hash(block) == hash(block_type(**VALID[block_type]))
    name = dataclasses.fields(block)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(block, name, 1)


@pytest.mark.parametrize(("block_type", "field"), CHANNEL_FIELDS)
@pytest.mark.parametrize("value", [0, -1, MAX_CHANNELS + 1])
def test_channels_are_in_range(block_type: Callable[..., Any], field: str, value: int) -> None:
    assert_refused(block_type, field, value, rf"must be in 1\.\.{MAX_CHANNELS}")


@pytest.mark.parametrize(("block_type", "field"), CHANNEL_FIELDS)
@pytest.mark.parametrize("value", [True, 8.0, "8", [8]])
def test_channels_are_integers(block_type: Callable[..., Any], field: str, value: object) -> None:
    assert_refused(block_type, field, value, "must be an integer")


@pytest.mark.parametrize("block_type", WINDOWED)
def test_kernels_are_odd_and_small(block_type: Callable[..., Any]) -> None:
    assert_refused(block_type, "kernel", 4, "must be odd")
    assert_refused(block_type, "kernel", 33, r"must be in 1\.\.31")
    assert_refused(block_type, "kernel", 3.0, "must be an integer")


@pytest.mark.parametrize("block_type", WINDOWED)
def test_strides_are_one_or_two(block_type: Callable[..., Any]) -> None:
    assert_refused(block_type, "stride", 0, r"must be in 1\.\.2")
    assert_refused(block_type, "stride", 3, r"must be in 1\.\.2")
    assert_refused(block_type, "stride", True, "must be an integer")


@pytest.mark.parametrize(("block_type", "field"), ACTIVATION_FIELDS)
@pytest.mark.parametrize("value", ["relu", None, Activation.SIGMOID, Activation.HARD_SIGMOID])
def test_activations_are_members_and_no_gates(
    block_type: Callable[..., Any], field: str, value: object
) -> None:
    assert_refused(block_type, field, value, "must be one of identity, relu, relu6, swish, h_swish")


@pytest.mark.parametrize("value", ["sigmoid", Activation.RELU, None])
def test_a_gate_is_a_sigmoid(value: object) -> None:
    assert_refused(SqueezeExcite, "gate", value, "must be one of sigmoid, hard_sigmoid")


@pytest.mark.parametrize("block_type", CONVOLUTIONAL)
def test_skip_is_a_member(block_type: Callable[..., Any]) -> None:
    assert_refused(block_type, "skip", "identity", "must be one of none, identity, pool")
    assert_refused(block_type, "skip", True, "must be one of")
    assert_refused(block_type, "skip", PoolKind.MAX, "must be one of")


@pytest.mark.parametrize("block_type", CONVOLUTIONAL)
@pytest.mark.parametrize("value", [8, 0.25, {"channels": 8}])
def test_squeeze_excite_is_its_own_value(block_type: Callable[..., Any], value: object) -> None:
    assert_refused(block_type, "squeeze_excite", value, "must be a SqueezeExcite or None")


def test_the_kind_of_a_pool_is_a_member() -> None:
    assert_refused(Pool, "kind", "max", "must be one of max, average")


@pytest.mark.parametrize("field", ["groups", "input_groups"])
def test_the_bottleneck_is_a_multiple_of_its_groups(field: str) -> None:
    with pytest.raises(
        ValueError, match=rf"multiple of {field}.*bottleneck_channels=60, {field}=7"
    ):
        ShuffleV1Unit(**{**VALID[ShuffleV1Unit], field: 7})


def test_a_shuffle_v2_unit_has_two_equal_branches() -> None:
    assert_refused(ShuffleV2Unit, "out_channels", 117, "must be even")


def test_a_hidden_activation_needs_hidden_channels() -> None:
    with pytest.raises(ValueError, match="hidden_activation needs hidden_channels"):
        ClassifierHead(hidden_activation=Activation.RELU)


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan"), float("inf"), "0.2", True, None])
def test_dropout_is_a_fraction(value: object) -> None:
    assert_refused(ClassifierHead, "dropout", value, "must be a number in 0 ≤ value < 1")


HEAD = ClassifierHead(num_classes=10)
STEM = ConvNormAct(out_channels=16, kernel=3, stride=2)


def test_an_architecture_tells_its_shapes_and_classes() -> None:
    architecture = Architecture(name="tiny", blocks=(STEM, HEAD), resolution=33)
    assert architecture.input_shape.channels == 3
    assert [str(shape) for _, shape in architecture.walk()] == ["3x33x33", "16x17x17"]
    assert architecture.num_classes == 10
    assert architecture.with_num_classes(7).num_classes == 7
    assert architecture.with_resolution(64).resolution == 64
    assert architecture.resolution == 33


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "", "Architecture.name must be printable and not empty, but got ''"),
        ("name", "a\nb", r"Architecture.name must be printable and not empty, but got 'a\\nb'"),
        ("name", 7, "Architecture.name must be printable and not empty, but got 7"),
        ("resolution", 0, r"Architecture.resolution must be in 1\.\.4096, but got 0"),
        ("resolution", 224.0, "Architecture.resolution must be an integer, but got 224.0"),
        ("image_channels", 0, r"Architecture.image_channels must be in 1\.\.1024, but got 0"),
        ("norm_epsilon", 0.0, "Architecture.norm_epsilon must be above 0, but got 0"),
        ("norm_epsilon", float("nan"), "Architecture.norm_epsilon .* but got nan"),
        ("norm_epsilon", 1, "Architecture.norm_epsilon .* but got 1"),
        ("blocks", (), r"Architecture.blocks must be a tuple of 1\.\.1000 blocks, but got 0"),
        ("blocks", [HEAD], "Architecture.blocks must be a tuple .* but got list"),
        ("blocks", (STEM,) * MAX_BLOCKS + (HEAD,), "Architecture.blocks .* but got 1001"),
        ("blocks", ("conv", HEAD), r"Architecture.blocks\[0\] must be a block, but got 'conv'"),
        ("blocks", (STEM,), r"must end in its only ClassifierHead, but blocks\[0\] of 1 is a Conv"),
        ("blocks", (HEAD, HEAD), r"must end in its only ClassifierHead, but blocks\[0\] of 2"),
    ],
)
def test_architecture_rules(field: str, value: object, message: str) -> None:
    valid: dict[str, Any] = {"name": "tiny", "blocks": (STEM, HEAD)}
    with pytest.raises(ValueError, match=message):
        Architecture(**{**valid, field: value})


def test_a_block_that_cannot_follow_is_named_by_its_place() -> None:
    skip = ConvNormAct(out_channels=24, kernel=3, skip=Skip.IDENTITY)
    with pytest.raises(ValueError, match=r"blocks\[1\]: ConvNormAct\.skip=identity needs equal"):
        Architecture(name="tiny", blocks=(STEM, skip, HEAD))
