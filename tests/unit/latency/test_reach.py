"""The listing of a space holds what its networks are made of; its range is that of brute force."""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest

from benchmarks.prediction import synthetic_table
from latency.context import After, walk_in_context
from latency.keys import block_key
from latency.reach import LARGEST, list_space, reachable_range_ms, reachable_steps
from latency.table import LatencyTable, MissingEntryError
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.shapes import TensorShape
from search_spaces.spaces import (
    Choices,
    SearchSpace,
    Stage,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)
from search_spaces.spaces.staged import Indices

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "mobilenet_v3": mobilenet_v3_space,
    "mnasnet": mnasnet_space,
    "shufflenet_v2": shufflenet_v2_space,
}


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    """No layer at all of depth 0; with a squeeze the stage hands over a plain map."""
    block = ConvNormAct(
        out_channels=int(values["width"]),
        kernel=int(values["kernel"]),
        squeeze_excite=SqueezeExcite(channels=2) if values["squeeze"] else None,
    )
    return (block,) * int(values["depth"])


def _space(stages: int = 2, resolutions: tuple[int, ...] = (16,)) -> SearchSpace:
    options = {
        "kernel": (1, 3, 5),
        "width": (4, 8),
        "squeeze": (False, True),
        "depth": (0, 1, 2),
    }
    base = {"kernel": 3, "width": 8, "squeeze": False, "depth": 1}
    return SearchSpace(
        name="tiny",
        stem=(ConvNormAct(out_channels=4, kernel=3, stride=2),),
        stages=tuple(
            Stage(name=f"stage{n}", options=options, base=base, layers=_layers)
            for n in range(stages)
        ),
        head=(ConvNormAct(out_channels=16, kernel=1), ClassifierHead(num_classes=10)),
        resolution=max(resolutions),
        resolutions=resolutions,
    )


def _every_network(space: SearchSpace) -> Indices:
    sizes = (range(len(values)) for values in space.choices.values())
    return np.array(list(product(*sizes)), dtype=np.uint8).reshape(space.size, -1)


RESOLUTIONS = [(16,), (8, 16), (16, 15, 7)]
"""15 pixels become the map that 16 become."""


@pytest.mark.parametrize("resolutions", RESOLUTIONS)
def test_range_is_the_lowest_and_the_highest_of_all_networks(resolutions: tuple[int, ...]) -> None:
    space = _space(resolutions=resolutions)
    table = synthetic_table(space)
    latencies = [
        table.network_latency_ms(space.build(space.choices_at(row)))
        for row in _every_network(space)
    ]
    assert len(latencies) == len(resolutions) * 36**2
    assert min(latencies) < max(latencies)
    assert reachable_range_ms(space, table) == (min(latencies), max(latencies))


def test_range_of_a_single_network_is_its_latency() -> None:
    space = _space(stages=0)
    table = synthetic_table(space)
    only = table.network_latency_ms(space.build({}))
    assert reachable_range_ms(space, table) == (only, only)


def test_range_of_stem_and_head_is_that_of_the_images() -> None:
    space = _space(stages=0, resolutions=(8, 32, 16))
    table = synthetic_table(space)
    latencies = [
        table.network_latency_ms(space.build({"resolution": size})) for size in (8, 32, 16)
    ]
    assert reachable_range_ms(space, table) == (min(latencies), max(latencies))


@pytest.mark.parametrize("resolutions", RESOLUTIONS)
def test_steps_are_those_of_all_networks(resolutions: tuple[int, ...]) -> None:
    space = _space(resolutions=resolutions)
    steps = reachable_steps(space)
    walked = {
        step
        for row in _every_network(space)
        for step in walk_in_context(space.build(space.choices_at(row)))
    }
    assert len(set(steps)) == len(steps)
    assert set(steps) == walked
    # The same block on the same map costs something else behind another neighbour.
    sizes = {(size + 1) // 2 for size in resolutions}
    places = [after for block, shape, after in steps if block == space.head[0]]
    assert sorted(places) == len(sizes) * [After.CONV] * 2 + len(sizes) * [After.PLAIN] * 2


@pytest.mark.parametrize("name", SPACES)
def test_steps_of_the_spaces(name: str) -> None:
    space = SPACES[name]()
    steps = reachable_steps(space)
    assert steps[0] == (space.stem[0], TensorShape(3, 224, 224), After.IMAGE)
    # 320 channels at 0.75, 1 and 1.25 times; ShuffleNetV2's 464 at 0.5 to 1.5 times.
    widths = {shape.channels for block, shape, _ in steps if block == space.head[0]}
    assert widths == ({192, 348, 464, 580, 704} if name == "shufflenet_v2" else {240, 320, 400})
    known, seen = set(steps), set()
    # Of a ShuffleNetV2, most blocks are the first of stage 2 or 3, and a network has one of each.
    count = 1000 if name == "shufflenet_v2" else 300
    for row in space.sample_indices(count, np.random.default_rng(0)):
        walked = walk_in_context(space.build(space.choices_at(row)))
        assert known.issuperset(walked)
        seen.update(walked)
    # What is listed beyond that is reachable too: most of it was seen.
    assert len(seen) > 0.6 * len(steps)
    plain = {block for block, _, after in steps if after is After.PLAIN}
    # MnasNet's convolutions may squeeze, and ShuffleNetV2 begins with a pool.
    assert bool(plain - {space.head[-1]}) == (name != "mobilenet_v3")
    shuffled = {block for block, _, after in steps if after is After.SHUFFLE}
    assert bool(shuffled) == (name == "shufflenet_v2")


@pytest.mark.parametrize("name", SPACES)
def test_steps_of_several_resolutions_are_those_of_each(name: str) -> None:
    each = [reachable_steps(SPACES[name](resolution=size)) for size in (224, 128)]
    both = reachable_steps(SPACES[name](resolution=(224, 128)))
    assert len(both) == len(set(both))
    assert set(both) == {*each[0], *each[1]}


def test_costs_follow_entrances_variants_and_layers() -> None:
    space = _space(stages=1)
    listing = list_space(space)
    tables = listing.costs(lambda block, shape, after: shape.channels)
    stem, stage, head = tables
    assert stem.tolist() == [[3]]
    # Without a layer the map stays as it is; the second layer reads what the first one wrote.
    by_variant = dict(zip(product((1, 3, 5), (4, 8), (0, 1), (0, 1, 2)), stage[0], strict=True))
    assert by_variant[1, 4, 0, 0] == 0
    assert by_variant[3, 8, 0, 1] == 4
    assert by_variant[5, 8, 1, 2] == 4 + 8
    assert sorted(head.ravel()) == [4 + 16, 4 + 16, 8 + 16, 8 + 16]
    assert listing.bounds(tables) == (3 + 0 + 4 + 16, 3 + 4 + 8 + 8 + 16)


def test_the_largest_cost_follows_entrances_variants_and_layers() -> None:
    space = _space(stages=1, resolutions=(8, 16))
    listing = list_space(space)
    tables = listing.costs(lambda block, shape, after: shape.values, LARGEST)
    stem, stage, head = tables
    assert stem.tolist() == [[3 * 8 * 8, 3 * 16 * 16]]
    for values, side in zip(stage, (4, 8), strict=True):
        by_variant = dict(zip(product((1, 3, 5), (4, 8), (0, 1), (0, 1, 2)), values, strict=True))
        assert by_variant[1, 4, 0, 0] == np.iinfo(np.int64).min
        assert by_variant[3, 8, 0, 1] == 4 * side**2
        assert by_variant[5, 8, 1, 2] == by_variant[1, 8, 0, 2] == 8 * side**2
    assert sorted(set(head.ravel())) == [16 * 4**2, 16 * 8**2]
    assert listing.bounds(tables, LARGEST) == (16 * 4**2, 16 * 8**2)


def test_a_cost_is_asked_once_a_step() -> None:
    listing = list_space(_space())
    asked = []
    listing.costs(lambda *step: len(asked.append(step) or asked))
    assert tuple(asked) == listing.steps


@pytest.mark.parametrize("huge", [2**62, -(2**62), 2**64])
def test_costs_that_could_overflow_are_refused(huge: int) -> None:
    listing = list_space(_space())
    with pytest.raises(ValueError, match=f"less than 2\\^63 over 7 layers, .* is {abs(huge)};"):
        listing.costs(lambda block, shape, after: huge)
    assert listing.bounds(listing.costs(lambda *_: 2**60)) == (3 * 2**60, 7 * 2**60)


def test_a_block_that_only_some_network_has_is_missed() -> None:
    space = _space()
    table = synthetic_table(space)
    rare = block_key(*reachable_steps(space)[-1])
    entries = [entry for entry in table.entries if entry.key != rare]
    with pytest.raises(MissingEntryError, match="synthetic has no entry for"):
        reachable_range_ms(space, LatencyTable({}, entries, "synthetic"))


def test_layers_that_cannot_follow_their_input_are_named() -> None:
    def layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
        return (
            InvertedResidual(
                expanded_channels=8,
                out_channels=int(values["width"]),
                kernel=3,
                skip=Skip.IDENTITY,
            ),
        )

    space = SearchSpace(
        name="broken",
        stem=(ConvNormAct(out_channels=4, kernel=3),),
        stages=(Stage(name="body", options={"width": (4, 8)}, base={"width": 4}, layers=layers),),
        head=(ClassifierHead(num_classes=10),),
        resolution=8,
    )
    with pytest.raises(ValueError, match="skip=identity needs equal input and output channels"):
        list_space(space)
