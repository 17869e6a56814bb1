"""Seed networks for small images are what their docstring says."""

from dataclasses import replace

import pytest

from benchmarks.small_images import for_small_images
from search_spaces import load_seed
from search_spaces.blocks import InvertedResidual


def test_mobilenet_v2_keeps_a_block_a_stage_at_full_width() -> None:
    seed = load_seed("mobilenet_v2", resolution=32)
    small = for_small_images(seed)
    # The output channels of Table 2 of the paper, each once.
    widths = [b.out_channels for b in small.blocks if isinstance(b, InvertedResidual)]
    assert widths == [24, 32, 64, 96, 160, 320]
    assert small.blocks[0] == replace(seed.blocks[0], stride=1)  # type: ignore[call-arg]
    *_, (_, last_map) = small.walk()
    assert (last_map.channels, last_map.height, last_map.width) == (1280, 2, 2)


def test_a_network_that_begins_otherwise_is_refused() -> None:
    small = for_small_images(load_seed("mobilenet_v2", resolution=32))
    with pytest.raises(ValueError, match="must begin with a layer of stride 2"):
        for_small_images(small)
