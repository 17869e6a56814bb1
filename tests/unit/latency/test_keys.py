"""Keys: different for what may take different time, equal for what is equal."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency.context import After, walk_in_context
from latency.keys import (
    alone_key,
    block_key,
    boundary_key,
    network_boundaries,
    network_key,
    network_keys,
)
from latency.reach import reachable_steps
from search_spaces import load_seed
from search_spaces.blocks import ConvNormAct, Pool, PoolKind
from search_spaces.shapes import TensorShape
from search_spaces.spaces import (
    SearchSpace,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)


@pytest.mark.parametrize("make", [mobilenet_v3_space, mnasnet_space, shufflenet_v2_space])
def test_every_reachable_block_of_a_space_has_a_key_of_its_own(
    make: Callable[[], SearchSpace],
) -> None:
    steps = reachable_steps(make())
    assert len({block_key(*step) for step in steps}) == len(steps) > 1000


def test_a_key_is_readable_and_the_same_for_equal_blocks_in_equal_places() -> None:
    place = TensorShape(24, 112, 112), After.CONV
    keys = {block_key(Pool(kind=PoolKind.MAX, kernel=3, stride=2), *place) for _ in range(2)}
    assert keys == {"Pool(kind=max, kernel=3, stride=2)@24x112x112 after conv"}
    assert boundary_key(*place) == "boundary@24x112x112 after conv"


def test_where_a_block_stands_is_part_of_its_key() -> None:
    block, shape = ConvNormAct(out_channels=8, kernel=3), TensorShape(4, 8, 8)
    keys = {
        *(block_key(block, shape, after) for after in After),
        block_key(block, TensorShape(8, 8, 8), After.CONV),
        block_key(block, TensorShape(4, 8, 16), After.CONV),
        alone_key(block, shape),
        boundary_key(shape, After.CONV),
        boundary_key(shape, After.PLAIN),
    }
    assert len(keys) == len(After) + 5


def test_a_networks_keys_are_its_blocks_and_the_boundaries_between_them() -> None:
    network = load_seed("mobilenet_v3_small")
    keys, boundaries = network_keys(network), network_boundaries(network)
    assert len(keys) == len(boundaries) + 1 == len(network.blocks)
    assert keys[0].endswith("@3x224x224 after image")
    for key, boundary, (_, shape, after) in zip(
        keys[1:], boundaries, walk_in_context(network)[1:], strict=True
    ):
        assert key.endswith(f"@{shape} after {after}")
        assert boundary == f"boundary@{shape} after {after}"


def test_a_networks_key_follows_its_blocks_and_not_its_name() -> None:
    network = load_seed("mobilenet_v3_small")
    assert network_key(network) == network_key(replace(network, name="another"))
    assert network_key(network) != network_key(network.with_num_classes(10))
    assert network_key(network) != network_key(network.with_resolution(192))
