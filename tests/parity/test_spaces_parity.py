"""Torch, ONNX, costs and YAML agree on random networks of every space, not only on seeds."""

import random
from collections.abc import Callable

import pytest

from search_spaces import Architecture
from search_spaces.spaces import (
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
SMALL_RESOLUTIONS = (32, 48)


@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("name", SPACES)
def test_random_networks(name: str, seed: int, assert_readers_agree: Callable[..., None]) -> None:
    network = _random_network(name, seed)
    assert_readers_agree(network, resolution=SMALL_RESOLUTIONS[seed % 2])
    assert Architecture.from_yaml(network.to_yaml()) == network


@pytest.mark.parametrize("seed", [100, 101])
@pytest.mark.parametrize("name", SPACES)
def test_random_networks_at_full_resolution(
    name: str, seed: int, assert_readers_agree: Callable[..., None]
) -> None:
    network = _random_network(name, seed)
    assert network.resolution == 224
    assert_readers_agree(network)


def _random_network(name: str, seed: int) -> Architecture:
    rng = random.Random(f"{name} {seed}")
    space = SPACES[name](num_classes=10)
    choices = {choice: rng.choice(values) for choice, values in space.choices.items()}
    return space.build(choices)
