"""Published networks by the table: those that it knows whole, for the classes of the search."""

from collections.abc import Callable

import pytest

from latency.context import walk_in_context
from latency.reach import Step
from latency.table import LatencyTable
from nas.report.seeds import known_seeds
from search_spaces import count_costs, load_seed
from search_spaces.spaces import SearchSpace, mobilenet_v3_space

TableOf = Callable[[list[Step]], LatencyTable]


def test_only_what_the_table_knows_whole_is_there(table_of: TableOf) -> None:
    space = mobilenet_v3_space(resolution=32, num_classes=10)
    networks = [
        load_seed(name, resolution=32).with_num_classes(10)
        for name in ("mobilenet_v3_large", "mobilenet_v3_small", "mobilenet_v2")
    ]
    known, half = networks[:2], walk_in_context(networks[2])[:-3]
    table = table_of([step for each in known for step in walk_in_context(each)] + half)
    found = known_seeds(space, table)
    assert [seed.label for seed in found] == ["mobilenet_v3_small", "mobilenet_v3_large"]
    for seed, network in zip(found, reversed(known), strict=True):
        assert seed.latency_ms == pytest.approx(table.network_latency_ms(network))
        assert (seed.madds, seed.params) == (
            count_costs(network).madds,
            count_costs(network).params,
        )


def test_several_image_sizes_are_told_apart(table_of: TableOf) -> None:
    space = mobilenet_v3_space(resolution=[32, 64], num_classes=10)
    network = load_seed("mobilenet_v3_small").with_num_classes(10)
    steps = [
        step for size in (32, 64) for step in walk_in_context(network.with_resolution(size))
    ]  # fmt: skip
    assert [(seed.label, seed.resolution) for seed in known_seeds(space, table_of(steps))] == [
        ("mobilenet_v3_small 32", 32),
        ("mobilenet_v3_small 64", 64),
    ]


def test_a_table_of_the_space_alone_may_know_none(
    small_space: SearchSpace, small_table: LatencyTable
) -> None:
    assert known_seeds(small_space, small_table) == []
