"""Keys: different for what may take different time, equal for what is equal."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from latency.keys import block_key, network_key, network_keys
from search_spaces import load_seed
from search_spaces.blocks import ConvNormAct, Pool, PoolKind
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace, mnasnet_space, mobilenet_v3_space


@pytest.mark.parametrize("make", [mobilenet_v3_space, mnasnet_space])
def test_every_reachable_block_of_a_space_has_a_key_of_its_own(
    make: Callable[[], SearchSpace],
) -> None:
    blocks = make().reachable_blocks()
    assert len({block_key(*found) for found in blocks}) == len(blocks) > 1000


def test_a_key_is_readable_and_the_same_for_equal_blocks() -> None:
    keys = {
        block_key(Pool(kind=PoolKind.MAX, kernel=3, stride=2), TensorShape(24, 112, 112)),
        block_key(Pool(kind=PoolKind.MAX, kernel=3, stride=2), TensorShape(24, 112, 112)),
    }
    assert keys == {"Pool(kind=max, kernel=3, stride=2)@24x112x112"}


def test_the_input_shape_is_part_of_the_key() -> None:
    block = ConvNormAct(out_channels=8, kernel=3)
    shapes = [TensorShape(4, 8, 8), TensorShape(8, 8, 8), TensorShape(4, 8, 16)]
    assert len({block_key(block, shape) for shape in shapes}) == 3


def test_a_networks_key_follows_its_blocks_and_not_its_name() -> None:
    network = load_seed("mobilenet_v3_small")
    assert network_key(network) == network_key(replace(network, name="another"))
    assert network_key(network) != network_key(network.with_num_classes(10))
    assert network_key(network) != network_key(network.with_resolution(192))
    assert len(network_keys(network)) == len(network.blocks)
