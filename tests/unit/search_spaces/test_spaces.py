"""The spaces: which networks they hold, and what they say of what they do not hold."""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from latency.reach import reachable_steps
from search_spaces import Architecture, count_costs, load_seed
from search_spaces.blocks import (
    Activation,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.lowering import lower
from search_spaces.shapes import TensorShape
from search_spaces.spaces import (
    Choice,
    Choices,
    SearchSpace,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "mobilenet_v3": mobilenet_v3_space,
    "mnasnet": mnasnet_space,
    "shufflenet_v2": shufflenet_v2_space,
}

# MnasNet, Figure 7a: operation, kernel, squeeze ratio and skip of the seven stages.
A1_STAGES = (
    ("separable", 3, 0.0),
    ("mbconv6", 3, 0.0),
    ("mbconv3", 5, 0.25),
    ("mbconv6", 3, 0.0),
    ("mbconv6", 3, 0.25),
    ("mbconv6", 5, 0.25),
    ("mbconv6", 3, 0.0),
)
A1_CHOICES: dict[str, Choice] = {
    f"stage{number}.{option}": value
    for number, (conv_op, kernel, ratio) in enumerate(A1_STAGES, start=1)
    for option, value in {
        "conv_op": conv_op,
        "kernel": kernel,
        "squeeze_ratio": ratio,
        "skip": "identity",
        "filters": 1.0,
        "layers": 0,
    }.items()
}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]()


@pytest.fixture(params=SPACES)
def sized_space(request: pytest.FixtureRequest) -> SearchSpace:
    """Of several resolutions."""
    return SPACES[request.param](resolution=(160, 224, 96), num_classes=10)


def _random_choices(space: SearchSpace, rng: random.Random) -> dict[str, Choice]:
    return {name: rng.choice(values) for name, values in space.choices.items()}


def test_mnasnet_a1_is_a_member_of_mnasnet() -> None:
    space, a1 = mnasnet_space(), load_seed("mnasnet_a1")
    assert space.encode(a1) == A1_CHOICES
    assert space.build(A1_CHOICES, name="mnasnet_a1") == a1
    assert space.base_choices == A1_CHOICES


@pytest.mark.parametrize("seed", ["mobilenet_v2", "mnasnet_b1"])
def test_another_base_is_a_member_of_its_own_space(seed: str) -> None:
    base = load_seed(seed)
    space = mnasnet_space(base=seed)
    assert space.build(space.base_choices, name=seed) == base
    assert space.encode(base) == space.base_choices


def test_the_paper_varies_mobilenet_v2_and_cannot_reach_a1() -> None:
    # Its 112 channels are none of 0.75, 1 and 1.25 times MobileNetV2's 96.
    with pytest.raises(ValueError, match=r"^mnasnet_a1 is not in mnasnet: it has another stem$"):
        mnasnet_space(base="mobilenet_v2").encode(load_seed("mnasnet_a1"))
    widths = {
        block.out_channels
        for block, *_ in reachable_steps(mnasnet_space(base="mobilenet_v2"))
        if isinstance(block, InvertedResidual)
    }
    assert {72, 96, 120} <= widths
    assert 112 not in widths


def test_the_base_of_mobilenet_v3_is_a1_with_the_squeeze_of_mobilenet_v3() -> None:
    space, a1 = mobilenet_v3_space(), load_seed("mnasnet_a1")
    base = space.build(space.base_choices, name="mnasnet_a1")
    # A quarter of 72, 120, 480, 672 and 960 as a multiple of 8, never below 90 %.
    squeezed = {72: 24, 120: 32, 480: 120, 672: 168, 960: 240}
    expected = [
        replace(
            block,
            squeeze_excite=SqueezeExcite(
                channels=squeezed[block.expanded_channels], gate=Activation.HARD_SIGMOID
            ),
        )
        if isinstance(block, InvertedResidual) and block.squeeze_excite is not None
        else block
        for block in a1.blocks
    ]
    assert sum(block != theirs for block, theirs in zip(expected, a1.blocks, strict=True)) == 8
    assert base == replace(a1, blocks=tuple(expected))
    assert space.encode(base) == space.base_choices


def test_sizes() -> None:
    # Stages 1 and 7 have one layer, and so two depths; stage 1 of MobileNetV3 has no expansion.
    assert mobilenet_v3_space().size == 72 * 324**5 * 216
    assert mnasnet_space().size == 288**2 * 432**5
    assert shufflenet_v2_space().size == 300**3
    assert shufflenet_v2_space(resolution=(224, 160)).size == 2 * 300**3


def test_choices_are_listed_stage_by_stage() -> None:
    choices = mobilenet_v3_space().choices
    assert len(choices) == 5 + 6 * 6
    assert list(choices)[:6] == [
        "stage1.kernel",
        "stage1.squeeze_excite",
        "stage1.activation",
        "stage1.width",
        "stage1.depth",
        "stage2.kernel",
    ]
    assert choices["stage2.kernel"] == (3, 5, 7)
    assert choices["stage2.expansion"] == (3, 4, 6)
    assert choices["stage2.depth"] == (-1, 0, 1)
    assert choices["stage7.depth"] == (0, 1)
    assert mnasnet_space().choices["stage4.conv_op"] == ("conv", "separable", "mbconv3", "mbconv6")


@pytest.mark.parametrize(
    ("values", "blocks"),
    [
        (
            {"conv_op": "conv", "squeeze_ratio": 0.25, "skip": "none", "layers": -1},
            [
                ConvNormAct(
                    out_channels=24, kernel=3, stride=2, squeeze_excite=SqueezeExcite(channels=4)
                ),
            ],
        ),
        (
            {"conv_op": "separable", "kernel": 5, "filters": 0.75, "skip": "pool"},
            [
                DepthwiseSeparable(out_channels=24, kernel=5, stride=2),
                DepthwiseSeparable(out_channels=24, kernel=5, skip=Skip.POOL),
            ],
        ),
        (
            {"conv_op": "mbconv3", "filters": 1.25, "layers": 1, "squeeze_ratio": 0.25},
            [
                InvertedResidual(
                    expanded_channels=48,
                    out_channels=32,
                    kernel=3,
                    stride=2,
                    squeeze_excite=SqueezeExcite(channels=4),
                ),
            ]
            + 2
            * [
                InvertedResidual(
                    expanded_channels=96,
                    out_channels=32,
                    kernel=3,
                    skip=Skip.IDENTITY,
                    squeeze_excite=SqueezeExcite(channels=8),
                )
            ],
        ),
    ],
)  # fmt: skip
def test_the_layers_of_a_stage_of_mnasnet(values: Choices, blocks: list[object]) -> None:
    # 0.75 × 24 = 18 rounds to 16, which is below 90 % of it, and so becomes 24.
    choices = A1_CHOICES | {f"stage2.{option}": value for option, value in values.items()}
    network = mnasnet_space().build(choices)
    assert list(network.blocks[2 : 2 + len(blocks)]) == blocks
    assert network.blocks[2 + len(blocks)].out_channels == 40  # type: ignore[union-attr]


def test_a_thousand_random_networks_are_whole_and_in_the_table(space: SearchSpace) -> None:
    rng = random.Random(0)
    reachable = {(block, shape) for block, shape, _ in reachable_steps(space)}
    seen = set()
    for _ in range(1000):
        network = space.build(_random_choices(space, rng))
        walked = list(network.walk())
        assert set(walked) <= reachable
        seen.update(walked)
        assert [block.input_shape for block in lower(network)] == [shape for _, shape in walked]
        costs = count_costs(network)
        assert 10**6 < costs.params < 10**8
        assert 10**7 < costs.madds < 10**10
    # What the table measures beyond that is reachable too: most of it was seen.
    assert len(seen) > 0.9 * len(reachable)


def test_choices_and_rows_of_integers_stand_for_each_other(space: SearchSpace) -> None:
    indices = space.sample_indices(200, np.random.default_rng(0))
    for row in indices:
        choices = space.choices_at(row)
        assert list(choices) == list(space.choices)
        assert space.choice_indices(choices) == tuple(row)
        space.build(choices)


def test_sampled_rows_are_even_and_repeatable(space: SearchSpace) -> None:
    count = 20_000
    indices = space.sample_indices(count, np.random.default_rng(0))
    assert (indices.shape, indices.dtype) == ((count, len(space.choices)), np.uint8)
    assert indices.flags.f_contiguous
    space.check_indices(indices)
    for column, values in zip(indices.T, space.choices.values(), strict=True):
        shares = np.bincount(column, minlength=len(values)) / count
        # Five standard deviations of a share.
        assert shares == pytest.approx(1 / len(values), abs=2.5 / count**0.5)
    # One choice says nothing of another.
    assert np.abs(np.corrcoef(indices.T) - np.eye(len(space.choices))).max() < 5 / count**0.5
    assert (space.sample_indices(count, np.random.default_rng(0)) == indices).all()
    assert space.sample_indices(0, np.random.default_rng(0)).shape == (0, len(space.choices))
    with pytest.raises(ValueError, match=r"^count must be 0 or more, but got -1$"):
        space.sample_indices(-1, np.random.default_rng(0))


def test_reachable_blocks_are_listed_from_the_stem_on(space: SearchSpace) -> None:
    reachable = [(block, shape) for block, shape, _ in reachable_steps(space)]
    assert reachable[0] == (space.stem[0], TensorShape(3, 224, 224))
    # 320 channels at 0.75, 1 and 1.25 times, 32 times smaller than the image. ShuffleNetV2's last
    # stage as in Table 5 at 0.5, 1 and 1.5 times; between them multiples of 4.
    expected, last = {
        "mobilenet_v3": ({240, 320, 400}, 1280),
        "mnasnet": ({240, 320, 400}, 1280),
        "shufflenet_v2": ({192, 348, 464, 580, 704}, 1024),
    }[space.name]
    widths = {shape for block, shape in reachable if block == space.head[0]}
    assert widths == {TensorShape(channels, 7, 7) for channels in expected}
    assert {shape for block, shape in reachable if block == space.head[1]} == {
        TensorShape(last, 7, 7)
    }


def test_choices_that_were_built_are_found_again(space: SearchSpace) -> None:
    rng = random.Random(1)
    for _ in range(12):
        network = space.build(_random_choices(space, rng))
        assert space.build(space.encode(network)) == network


def test_resolution_and_classes_are_given_to_every_network(space: SearchSpace) -> None:
    small = SPACES[space.name](resolution=96, num_classes=10)
    network = small.build(small.base_choices)
    assert (network.resolution, network.num_classes) == (96, 10)
    assert small.encode(space.build(space.base_choices)) == small.base_choices


def test_of_several_resolutions_each_network_has_one(sized_space: SearchSpace) -> None:
    choices = sized_space.choices
    assert next(iter(choices)) == "resolution"
    assert choices["resolution"] == (160, 224, 96)
    assert list(choices)[1:] == list(SPACES[sized_space.name]().choices)
    # The base network has the largest image.
    assert sized_space.base_choices["resolution"] == 224
    assert sized_space.input_shape == TensorShape(3, 224, 224)
    one = SPACES[sized_space.name](num_classes=10)
    base = one.build(one.base_choices)
    assert sized_space.build(sized_space.base_choices) == base
    rng = random.Random(2)
    for size in choices["resolution"]:
        chosen = _random_choices(sized_space, rng) | {"resolution": size}
        network = sized_space.build(chosen)
        del chosen["resolution"]
        assert network == one.build(chosen).with_resolution(int(size))
        found = sized_space.encode(network)
        assert list(found) == list(choices)
        assert sized_space.build(found) == network
        # A space of one resolution does not compare them.
        assert one.build(one.encode(network)) == network.with_resolution(224)
    with pytest.raises(
        ValueError,
        match=r"not in \w+, where resolution is one of \(160, 224, 96\), but 128 in the network$",
    ):
        sized_space.encode(base.with_resolution(128))


def test_rows_of_integers_begin_with_the_resolution(sized_space: SearchSpace) -> None:
    indices = sized_space.sample_indices(300, np.random.default_rng(0))
    sized_space.check_indices(indices)
    counts = dict.fromkeys(sized_space.resolutions, 0)
    for row in indices:
        choices = sized_space.choices_at(row)
        assert choices["resolution"] == sized_space.resolutions[row[0]]
        assert sized_space.choice_indices(choices) == tuple(row)
        counts[sized_space.build(choices).resolution] += 1
    # A third of them each, but for five standard deviations.
    assert all(abs(count - 100) < 41 for count in counts.values())


def test_the_published_widths_are_members_of_shufflenet_v2() -> None:
    space = shufflenet_v2_space()
    for name, width in (("x0_5", 0.5), ("x1_0", 1.0), ("x1_5", 1.5)):
        seed = load_seed(f"shufflenet_v2_{name}")
        widths: dict[str, Choice] = {f"stage{number}.width": width for number in (1, 2, 3)}
        assert space.encode(seed) == space.base_choices | widths
        assert space.build(space.base_choices | widths, name=seed.name) == seed
    # Its last convolution is twice as wide.
    with pytest.raises(ValueError, match=r"no choice makes blocks\[2\], .*out_channels=244"):
        space.encode(load_seed("shufflenet_v2_x2_0"))


@pytest.mark.parametrize("seed", ["shufflenet_v2_x0_5", "shufflenet_v2_x2_0"])
def test_another_shufflenet_v2_is_the_base_of_its_own_space(seed: str) -> None:
    base, space = load_seed(seed), shufflenet_v2_space(base=seed)
    assert space.build(space.base_choices, name=seed) == base
    assert space.encode(base) == space.base_choices


def _shuffle(branch: int, out: int, kernel: int = 3, stride: int = 1) -> ShuffleV2Unit:
    return ShuffleV2Unit(branch_channels=branch, out_channels=out, kernel=kernel, stride=stride)


@pytest.mark.parametrize(
    ("values", "blocks"),
    [
        (
            {"unit": "narrow_shuffle", "depth": -2},
            [_shuffle(29, 116, stride=2), _shuffle(29, 116)],
        ),
        (
            {"unit": "wide_shuffle", "width": 0.75, "kernel": 7, "depth": -1},
            [_shuffle(88, 88, 7, stride=2), *[_shuffle(88, 88, 7)] * 2],
        ),
        (
            {"unit": "separable", "width": 0.5, "kernel": 5, "depth": 2},
            [
                DepthwiseSeparable(out_channels=48, kernel=5, stride=2),
                *[DepthwiseSeparable(out_channels=48, kernel=5, skip=Skip.IDENTITY)] * 5,
            ],
        ),
    ],
)
def test_the_units_of_a_stage_of_shufflenet_v2(values: Choices, blocks: list[object]) -> None:
    space = shufflenet_v2_space()
    choices = space.base_choices | {f"stage1.{option}": value for option, value in values.items()}
    network = space.build(choices)
    assert list(network.blocks[2 : 2 + len(blocks)]) == blocks
    assert network.blocks[2 + len(blocks)] == _shuffle(116, 232, stride=2)


def _with_block(network: Architecture, index: int, **fields: object) -> Architecture:
    blocks = list(network.blocks)
    blocks[index] = replace(blocks[index], **fields)  # type: ignore[arg-type]
    return replace(network, blocks=tuple(blocks))


@pytest.mark.parametrize(
    ("index", "fields"),
    [
        (1, {"kernel": 7}),
        (4, {"expanded_channels": 80}),
        (6, {"kernel": 3}),  # the third layer of a stage of kernel 5
        (13, {"squeeze_excite": None}),  # the first of its stage; the layers after it squeeze
        (16, {"activation": Activation.SWISH}),
        (17, {"out_channels": 1024}),
        (18, {"dropout": 0.5}),
    ],
)
def test_a_network_that_is_no_member_is_refused_by_its_first_foreign_block(
    index: int, fields: dict[str, object]
) -> None:
    foreign = _with_block(load_seed("mnasnet_a1"), index, **fields)
    # Choices may make that block, where no more of them make the one after it.
    named = 14 if index == 13 else index
    with pytest.raises(ValueError, match=rf"no choice makes blocks\[{named}\], ") as caught:
        mnasnet_space().encode(foreign)
    assert str(caught.value) == (
        f"mnasnet_a1 is not in mnasnet: no choice makes blocks[{named}], {foreign.blocks[named]}"
    )


@pytest.mark.parametrize(
    ("foreign", "message"),
    [
        (_with_block(load_seed("mnasnet_a1"), 0, kernel=5), "it has another stem"),
        (replace(load_seed("mnasnet_a1"), norm_epsilon=0.001), "norm_epsilon is 1e-05, but 0.001"),
        (replace(load_seed("mnasnet_a1"), image_channels=1), "image_channels is 3, but 1"),
    ],
)
def test_a_network_with_another_stem_or_norm_is_refused(
    foreign: Architecture, message: str
) -> None:
    with pytest.raises(ValueError, match=f"^mnasnet_a1 is not in mnasnet.*{message}"):
        mnasnet_space().encode(foreign)
