"""Which channel counts change together, against what the papers' tables say."""

import pytest

from netadapt.edits import narrow
from netadapt.width_groups import WidthGroup, WidthKind, width_groups
from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)

HEAD = ClassifierHead(num_classes=10)


def network(*blocks: Block, image_channels: int = 3) -> Architecture:
    return Architecture(
        name="small", blocks=(*blocks, HEAD), resolution=32, image_channels=image_channels
    )


def described(architecture: Architecture) -> list[tuple[str, int, list[str]]]:
    return [
        (str(group.kind), group.width, [str(slot) for slot in group.slots])
        for group in width_groups(architecture)
    ]


def group_at(architecture: Architecture, slot: str) -> WidthGroup:
    """The group that begins there."""
    return next(g for g in width_groups(architecture) if str(g.slots[0]) == slot)


def test_mobilenet_v3_large_has_the_widths_of_its_table() -> None:
    groups = described(load_seed("mobilenet_v3_large"))
    outputs = {tuple(slots): width for kind, width, slots in groups if kind == "bottleneck"}
    assert outputs == {
        tuple(f"blocks.{index}.out_channels" for index in chain): width
        for chain, width in (
            ((2, 3), 24),
            ((4, 5, 6), 40),
            ((7, 8, 9, 10), 80),
            ((11, 12), 112),
            ((13, 14, 15), 160),
        )
    }
    expansions = [width for kind, width, _ in groups if kind == "expansion"]
    assert expansions == [64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960]
    assert [group for group in groups if group[0] == "layer"] == [
        ("layer", 16, ["blocks.0.out_channels", "blocks.1.out_channels"]),
        ("layer", 960, ["blocks.16.out_channels"]),
        ("layer", 1280, ["blocks.17.hidden_channels"]),
    ]


def test_every_layer_of_mobilenet_v1_is_a_group() -> None:
    groups = described(load_seed("mobilenet_v1"))
    widths = [32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
    assert groups == [
        ("layer", width, [f"blocks.{index}.out_channels"]) for index, width in enumerate(widths)
    ]


def test_a_stage_of_shufflenet_v2_is_one_group_and_every_branch_another() -> None:
    groups = described(load_seed("shufflenet_v2_x1_0"))
    assert groups[1] == ("layer", 58, ["blocks.2.branch_channels"])
    stages = {width: slots for _, width, slots in groups if "out_channels" in slots[0]}
    assert stages == {
        24: ["blocks.0.out_channels"],
        116: [f"blocks.{index}.out_channels" for index in range(2, 6)],
        232: [f"blocks.{index}.out_channels" for index in range(6, 14)],
        464: [f"blocks.{index}.out_channels" for index in range(14, 18)],
        1024: ["blocks.18.out_channels"],
    }
    assert sum("branch_channels" in slots[0] for _, _, slots in groups) == 16


def test_a_stage_of_shufflenet_v1_is_part_of_all_stages_after_it() -> None:
    groups = described(load_seed("shufflenet_v1_g3"))
    stages = [(width, slots) for _, width, slots in groups if "out_channels" in slots[0]]
    units = [f"blocks.{index}.out_channels" for index in range(2, 18)]
    assert stages == [
        (24, ["blocks.0.out_channels", *units]),
        (240 - 24, units),
        (480 - 240, units[4:]),
        (960 - 480, units[12:]),
    ]


def test_narrowing_the_stem_of_shufflenet_v1_makes_no_branch_wider() -> None:
    seed = load_seed("shufflenet_v1_g3")
    narrowed = narrow(seed, group_at(seed, "blocks.0.out_channels"), 18)
    outputs = [getattr(block, "out_channels", None) for block in narrowed.blocks]
    assert outputs == [18, None, *[234] * 4, *[474] * 8, *[954] * 4, None]


@pytest.mark.parametrize(
    ("slot", "multiple"),
    [
        ("blocks.2.bottleneck_channels", 3),
        ("blocks.0.out_channels", 3),
        ("blocks.6.out_channels", 3),
    ],
)
def test_groups_of_shufflenet_v1_keep_equal_parts(slot: str, multiple: int) -> None:
    group = group_at(load_seed("shufflenet_v1_g3"), slot)
    assert group.multiple == multiple
    assert group.step(8) == 9
    assert group.step(2) == 3


def test_unequal_groups_ask_for_what_both_divide() -> None:
    unit = ShuffleV1Unit(bottleneck_channels=24, out_channels=24, groups=4, input_groups=6)
    first, inside = width_groups(network(ConvNormAct(out_channels=24, kernel=3), unit))
    assert first.multiple == inside.multiple == 12
    assert list(inside.narrower_widths(8)) == [12]


def test_widths_are_multiples_from_the_widest_down() -> None:
    group = width_groups(network(ConvNormAct(out_channels=30, kernel=3)))[0]
    assert list(group.narrower_widths(8)) == [24, 16, 8]
    assert list(group.narrower_widths(15)) == [15]
    assert list(group.narrower_widths(30)) == []


def test_a_width_that_is_no_multiple_keeps_its_remainder() -> None:
    """25 + 11 channels: of the branch's 11 only an even number may go, or the halves differ."""
    blocks = (
        ConvNormAct(out_channels=25, kernel=3),
        ShuffleV1Unit(bottleneck_channels=8, out_channels=36, groups=1, input_groups=1, stride=2),
        ShuffleV2Unit(branch_channels=8, out_channels=36),
    )
    architecture = network(*blocks)
    stem, branch = group_at(architecture, "blocks.0.out_channels"), width_groups(architecture)[2]
    assert (stem.width, branch.width) == (25, 11)
    assert list(branch.narrower_widths(4)) == [9, 5]
    for width in stem.narrower_widths(2):
        narrow(architecture, stem, width)


def test_channels_of_the_image_are_no_group() -> None:
    skipping = ConvNormAct(out_channels=16, kernel=3, skip=Skip.IDENTITY)
    groups = width_groups(
        network(skipping, ConvNormAct(out_channels=8, kernel=1), image_channels=16)
    )
    assert [str(group) for group in groups] == ["blocks.1.out_channels"]


def test_a_pooling_skip_ties_widths_as_well() -> None:
    pooling = DepthwiseSeparable(out_channels=16, kernel=3, stride=2, skip=Skip.POOL)
    groups = width_groups(network(ConvNormAct(out_channels=16, kernel=3), pooling))
    assert [len(group.slots) for group in groups] == [2]


def test_a_stem_that_goes_on_into_inverted_residuals_is_a_bottleneck() -> None:
    block = InvertedResidual(expanded_channels=48, out_channels=16, kernel=3, skip=Skip.IDENTITY)
    groups = width_groups(network(ConvNormAct(out_channels=16, kernel=3), block))
    assert [group.kind for group in groups] == [WidthKind.BOTTLENECK, WidthKind.EXPANSION]


@pytest.mark.parametrize("name", seed_names())
def test_every_width_of_every_seed_is_a_network_and_narrower(name: str) -> None:
    seed = load_seed(name)
    for group in width_groups(seed):
        widths = list(group.narrower_widths(8))
        for width in {widths[0], widths[-1], widths[len(widths) // 2]}:
            narrowed = narrow(seed, group, width)
            again = next(g for g in width_groups(narrowed) if g.slots == group.slots)
            assert again.width == width
            assert _counts(narrowed) == [
                count - (group.width - width) * (slot in map(str, group.slots))
                for slot, count in zip(_slots(seed), _counts(seed), strict=True)
            ]


def _slots(architecture: Architecture) -> list[str]:
    return [f"blocks.{index}.{name}" for index, name, _ in _fields(architecture)]


def _counts(architecture: Architecture) -> list[int]:
    return [count for _, _, count in _fields(architecture)]


def _fields(architecture: Architecture) -> list[tuple[int, str, int]]:
    return [
        (index, name, getattr(block, name))
        for index, block in enumerate(architecture.blocks)
        for name in getattr(block, "__slots__", ())
        if name.endswith("_channels") and getattr(block, name) is not None
    ]


def test_the_same_width_is_the_same_network() -> None:
    seed = load_seed("mobilenet_v3_small")
    for group in width_groups(seed):
        assert narrow(seed, group, group.width) == seed


@pytest.mark.parametrize("width", [0, 25, 7.5])
def test_an_impossible_width_is_refused(width: int) -> None:
    architecture = network(ConvNormAct(out_channels=24, kernel=3))
    with pytest.raises(ValueError, match=r"WidthGroup\.width must be"):
        narrow(architecture, width_groups(architecture)[0], width)


def test_a_width_that_cuts_unequal_parts_is_refused() -> None:
    seed = load_seed("shufflenet_v1_g3")
    group = group_at(seed, "blocks.2.bottleneck_channels")
    with pytest.raises(ValueError, match=r"multiple of 3, but got 56 for 60.*narrower_widths"):
        narrow(seed, group, 56)


class TestSqueezeExcite:
    def test_a_quarter_of_the_expansion_stays_one(self) -> None:
        seed = load_seed("mobilenet_v3_large")
        group = group_at(seed, "blocks.4.expanded_channels")
        widths = {}
        for width in group.narrower_widths(8):
            block = narrow(seed, group, width).blocks[4]
            assert isinstance(block, InvertedResidual)
            assert block.squeeze_excite is not None
            widths[width] = block.squeeze_excite.channels
        # A quarter, to the nearest multiple of 8 that is no less than 90 % of it.
        assert widths == {64: 16, 56: 16, 48: 16, 40: 16, 32: 8, 24: 8, 16: 8, 8: 8}

    def test_a_quarter_of_the_input_stays_one(self) -> None:
        seed = load_seed("mnasnet_a1")
        narrowed = narrow(seed, group_at(seed, "blocks.4.out_channels"), 32)
        squeezed = [
            block.squeeze_excite.channels
            for block in narrowed.blocks
            if isinstance(block, InvertedResidual) and block.squeeze_excite is not None
        ]
        assert squeezed == [6, 8, 8, 20, 28, 28, 40, 40]

    def test_any_other_width_stays(self) -> None:
        gate = SqueezeExcite(channels=11)
        block = ConvNormAct(out_channels=24, kernel=3, squeeze_excite=gate)
        architecture = network(block)
        narrowed = narrow(architecture, width_groups(architecture)[0], 16).blocks[0]
        assert isinstance(narrowed, ConvNormAct)
        assert narrowed.squeeze_excite == gate
