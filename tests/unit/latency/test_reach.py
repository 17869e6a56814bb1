"""The range by dynamic programming is the range by brute force."""

from itertools import product

import pytest

from latency.keys import OVERHEAD_KEY, block_key
from latency.reach import reachable_range_ms
from latency.table import Entry, LatencyTable, MissingEntryError
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct
from search_spaces.spaces import Choices, SearchSpace, Stage


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    block = ConvNormAct(out_channels=int(values["width"]), kernel=int(values["kernel"]))
    return (block,) * int(values["depth"])


def _space() -> SearchSpace:
    options = {"kernel": (1, 3, 5), "width": (4, 8), "depth": (1, 2)}
    base = {"kernel": 3, "width": 8, "depth": 1}
    return SearchSpace(
        name="tiny",
        stem=(ConvNormAct(out_channels=4, kernel=3, stride=2),),
        stages=tuple(
            Stage(name=f"stage{n}", options=options, base=base, layers=_layers) for n in (1, 2, 3)
        ),
        head=(ConvNormAct(out_channels=16, kernel=1), ClassifierHead(num_classes=10)),
        resolution=16,
    )


def _table(space: SearchSpace, overhead: float = 0.25) -> LatencyTable:
    """Scattered latencies between 0.5 and 2.5 reference blocks; a reference block takes 2 ms."""
    keys = [OVERHEAD_KEY, *(block_key(*found) for found in space.reachable_blocks())]
    ratios = [overhead, *(0.5 + 0.618034 * n % 2 for n in range(1, len(keys)))]
    return LatencyTable(
        {},
        (
            Entry(key=key, ratio=ratio, interval=0.0, rounds=5, latency_ms=1.0, reference_ms=2.0)
            for key, ratio in zip(keys, ratios, strict=True)
        ),
        "synthetic",
    )


# With the larger overhead some blocks cost less than a run does, and count as free.
@pytest.mark.parametrize("overhead", [0.25, 1.0])
def test_range_is_the_lowest_and_the_highest_of_all_networks(overhead: float) -> None:
    space = _space()
    table = _table(space, overhead)
    networks = [
        space.build(dict(zip(space.choices, values, strict=True)))
        for values in product(*space.choices.values())
    ]
    latencies = [table.network_latency_ms(network) for network in networks]
    assert len(latencies) == 12**3
    assert min(latencies) < max(latencies)
    assert reachable_range_ms(space, table) == pytest.approx((min(latencies), max(latencies)))


def test_a_block_that_only_some_network_has_is_missed() -> None:
    space = _space()
    entries = list(_table(space)._entries.values())
    with pytest.raises(MissingEntryError, match="synthetic has no entry for"):
        reachable_range_ms(space, LatencyTable({}, entries[:-1], "synthetic"))
