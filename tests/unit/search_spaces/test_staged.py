"""What stages and spaces are made of, and how they answer choices that are none."""

from typing import Any

import numpy as np
import pytest

from search_spaces import load_seed
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual, Skip
from search_spaces.spaces import (
    Choices,
    SearchSpace,
    Stage,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)
from search_spaces.spaces.around import BaseStage, base_stages


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    return (ConvNormAct(out_channels=int(values["width"]), kernel=int(values["kernel"])),)


def _stage(**fields: Any) -> Stage:
    given: dict[str, Any] = {
        "name": "body",
        "options": {"kernel": (3, 5), "width": (8, 16)},
        "base": {"kernel": 3, "width": 16},
        "layers": _layers,
    }
    return Stage(**given | fields)


def _space(**fields: Any) -> SearchSpace:
    given: dict[str, Any] = {
        "name": "tiny",
        "stem": (ConvNormAct(out_channels=4, kernel=3, stride=2),),
        "stages": (_stage(),),
        "head": (ClassifierHead(num_classes=10),),
        "resolution": 8,
    }
    return SearchSpace(**given | fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"options": {"kernel": ()}},
            r"body\.kernel must have distinct values, at least one.*\(\)",
        ),
        ({"options": {"kernel": (3, 3)}}, r"body\.kernel must have distinct values.*\(3, 3\)"),
        (
            {"options": {"kernel": tuple(range(257))}},
            r"body\.kernel must have 256 values at most.*257",
        ),
        ({"base": {"kernel": 7, "width": 8}}, r"body\.kernel is 7, but allowed are \(3, 5\)"),
        ({"base": {"kernel": 3}}, r"body\.width is None, but allowed are \(8, 16\)"),
    ],
)
def test_a_stage_refuses_options_it_cannot_vary(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _stage(**fields)


def test_variants_begin_with_the_base() -> None:
    assert [dict(values) for values in _stage().variants()] == [
        {"kernel": 3, "width": 16},
        {"kernel": 3, "width": 8},
        {"kernel": 5, "width": 16},
        {"kernel": 5, "width": 8},
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": ()}, "the space 'tiny' must end in a ClassifierHead"),
        ({"head": (ConvNormAct(out_channels=4, kernel=1),)}, "must end in a ClassifierHead"),
        ({"stages": (_stage(), _stage())}, r"must have names of their own: \['body', 'body'\]"),
        ({"resolution": 0}, r"resolution must be in 1\.\.4096, but got 0"),
        ({"resolutions": (8, 0)}, r"resolution must be in 1\.\.4096, but got 0"),
        ({"resolutions": (8, 16.0)}, r"resolution must be an integer, but got 16\.0"),
        ({"resolutions": (8, 8)}, r"resolutions must have distinct values, .* got \(8, 8\)"),
        ({"resolutions": (16, 32)}, r"its resolution is 8, but allowed are \(16, 32\)"),
        (
            {"resolutions": tuple(range(8, 265))},
            "resolutions must have 256 values at most, but got 257",
        ),
    ],
)
def test_a_space_refuses_parts_that_make_no_network(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _space(**fields)


def test_a_space_is_used_at_another_resolution_or_at_several() -> None:
    space = _space(resolution=16)
    assert (space.resolution, space.resolutions) == (16, (16,))
    assert "resolution" not in space.choices
    smaller = space.with_resolutions(8)
    assert (smaller.resolution, smaller.choices) == (8, space.choices)
    several = space.with_resolutions([8, 32, 16])
    assert (several.resolution, several.resolutions) == (32, (8, 32, 16))
    assert several.choices == {"resolution": (8, 32, 16)} | space.choices
    assert several.base_choices == {"resolution": 32} | space.base_choices
    assert several.size == 3 * space.size
    # One alone is no choice.
    assert several.with_resolutions([8]) == smaller


@pytest.mark.parametrize(
    ("resolution", "message"),
    [
        ([], r"resolutions must have distinct values, at least one, but got \(\)"),
        ([8, 8], r"resolutions must have distinct values, .* but got \(8, 8\)"),
        ([8, 5000], r"resolution must be in 1\.\.4096, but got 5000"),
        ([8, None], "resolution must be an integer, but got None"),
        (True, "resolution must be an integer, but got True"),
        ("224", "resolution must be an integer, but got '224'"),
    ],
)
def test_resolutions_that_are_none_are_named(resolution: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^SearchSpace.{message}"):
        _space().with_resolutions(resolution)
    with pytest.raises(ValueError, match=f"^SearchSpace.{message}"):
        shufflenet_v2_space(resolution=resolution)


@pytest.mark.parametrize("resolution", [12, "8", None])
def test_a_resolution_that_is_no_choice_is_named(resolution: Any) -> None:
    space = _space().with_resolutions((8, 16))
    choices = space.base_choices | {"resolution": resolution}
    with pytest.raises(ValueError, match=r"^tiny: resolution must be one of \(8, 16\), but got "):
        space.build(choices)
    del choices["resolution"]
    with pytest.raises(ValueError, match=r"^tiny needs the choice 'resolution', one of \(8, 16\)"):
        space.build(choices)
    with pytest.raises(ValueError, match=r"^tiny has no choice 'resolution'"):
        _space().build(choices | {"resolution": 8})


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, r"^tiny needs the choice 'body\.kernel', one of \(3, 5\)$"),
        ({"body.kernel": 3}, r"^tiny needs the choice 'body\.width', one of \(8, 16\)$"),
        (
            {"body.kernel": 3, "body.width": 8, "body.depth": 1},
            r"^tiny has no choice 'body\.depth'; it has \['body\.kernel', 'body\.width'\]$",
        ),
        (
            {"body.kernel": 4, "body.width": 8},
            r"^tiny: body\.kernel must be one of \(3, 5\), but got 4$",
        ),
        (
            {"body.kernel": "3", "body.width": 8},
            r"^tiny: body\.kernel must be one of \(3, 5\), but got '3'$",
        ),
    ],
)
def test_choices_that_are_none_are_named(choices: Choices, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _space().build(choices)


def test_a_network_is_a_row_of_small_integers() -> None:
    space = _space()
    assert space.choice_indices({"body.kernel": 5, "body.width": 8}) == (1, 0)
    assert space.choices_at((1, 0)) == {"body.kernel": 5, "body.width": 8}
    assert space.choices_at(np.array([0, 1], dtype=np.uint8)) == {
        "body.kernel": 3,
        "body.width": 16,
    }
    with pytest.raises(
        ValueError, match=r"^tiny: body\.kernel must be one of \(3, 5\), but got 4$"
    ):
        space.choice_indices({"body.kernel": 4, "body.width": 8})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((0,), r"^tiny: a network must be 2 integers, but got an array of int64 of shape \(1,\)$"),
        (((0, 1),), r"must be 2 integers, but got an array of int64 of shape \(1, 2\)$"),
        ((0.0, 1.0), r"must be 2 integers, but got an array of float64 of shape \(2,\)$"),
        ((False, True), r"must be 2 integers, but got an array of bool of shape \(2,\)$"),
        (
            (0, 2),
            r"^tiny: the index of body\.width must be in 0\.\.1, one of \(8, 16\), but got 2$",
        ),
        ((-1, 0), r"^tiny: the index of body\.kernel must be in 0\.\.1, .* but got -1$"),
        ((2**70, 0), r"must be 2 integers, but got an array of object of shape \(2,\)$"),
    ],
)
def test_a_row_that_is_no_network_is_refused(row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _space().choices_at(row)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (
            np.zeros((5, 2), dtype=np.int64),
            r"^tiny: networks must be an array of uint8 of shape \(networks, 2\), but got int64 "
            r"of shape \(5, 2\)$",
        ),
        (np.zeros((2, 5), dtype=np.uint8), r"but got uint8 of shape \(2, 5\)$"),
        (np.zeros(2, dtype=np.uint8), r"but got uint8 of shape \(2,\)$"),
        (
            np.array([[1, 0], [0, 9]], dtype=np.uint8),
            r"^tiny: the index of body\.width must be in 0\.\.1, one of \(8, 16\), but got 9$",
        ),
    ],
)
def test_an_array_that_holds_no_networks_is_refused(indices: Any, message: str) -> None:
    space = _space()
    space.check_indices(np.ones((5, 2), dtype=np.uint8))
    space.check_indices(np.ones((0, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match=message):
        space.check_indices(indices)


def test_the_stages_of_a_base_are_its_runs_of_equal_width() -> None:
    stages = base_stages(load_seed("mnasnet_a1"))
    # (layers, kernel, stride, input width, width), MnasNet's Figure 7a.
    assert [
        (s.layers, s.first.kernel, s.stride, s.input_channels, s.out_channels)  # type: ignore[union-attr]
        for s in stages
    ] == [
        (1, 3, 1, 32, 16),
        (2, 3, 2, 16, 24),
        (3, 5, 2, 24, 40),
        (4, 3, 2, 40, 80),
        (2, 3, 1, 80, 112),
        (3, 5, 2, 112, 160),
        (1, 3, 1, 160, 320),
    ]


@pytest.mark.parametrize(("layers", "offsets"), [(1, (0, 1)), (2, (-1, 0, 1)), (4, (-1, 0, 1))])
def test_no_depth_leaves_a_stage_empty(layers: int, offsets: tuple[int, ...]) -> None:
    first = InvertedResidual(expanded_channels=8, out_channels=8, kernel=3, skip=Skip.NONE)
    stage = BaseStage(first=first, input_channels=8, out_channels=8, stride=1, layers=layers)
    assert stage.depth_offsets() == offsets
    assert stage.depth_offsets(2) == tuple(n for n in (-2, -1, 0, 1, 2) if layers + n >= 1)


@pytest.mark.parametrize(
    ("make", "base", "message"),
    [
        (mobilenet_v3_space, "shufflenet_v1_g3", "stage 1 must be separable or inverted-residual"),
        (mobilenet_v3_space, "mobilenet_v2", r"stage1\.activation is 'relu6', but allowed are"),
        (mnasnet_space, "shufflenet_v2_x1_0", "stage 1 must be of conv, .* but is a Pool"),
        (mnasnet_space, "mobilenet_v3_large", r"stage2\.conv_op is 'mbconv4', but allowed are"),
        # Its separable layers end in a ReLU, which MnasNet's do not.
        (mnasnet_space, "mobilenet_v1", r"mobilenet_v1 is not in mnasnet: .* blocks\[1\]"),
        (mnasnet_space, "mnasnet_a2", "there is no seed 'mnasnet_a2'"),
        (shufflenet_v2_space, "shufflenet_v1_g3", "stage 1 must be of ShuffleNetV2 units, but is"),
        (
            shufflenet_v2_space,
            "mnasnet_a1",
            "stage 1 must be of ShuffleNetV2 units, but is an? Inv",
        ),
    ],
)
def test_a_base_of_other_blocks_is_refused(make: Any, base: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(base=base)
