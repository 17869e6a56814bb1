"""A table of steps, with latencies that go up and down with width as real ones do."""

import random
from collections.abc import Callable, Iterable

import pytest

from latency.context import After
from latency.keys import block_key, boundary_key
from latency.reach import Step
from latency.table import LatencyTable
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block

TableOf = Callable[[Iterable[Step]], LatencyTable]


@pytest.fixture(scope="session")
def table_of(make_table: Callable[..., LatencyTable]) -> TableOf:
    """``table_of(steps)``: what blocks cost by their MAdds and memory, give or take 30 %."""

    def build(steps: Iterable[Step]) -> LatencyTable:
        latencies_ms: dict[str, float] = {}
        for block, shape, after in steps:
            key = block_key(block, shape, after)
            costs = count_block_costs(lower_block(block, shape))
            ms = 1e-7 * costs.madds + 1e-6 * costs.memory_access + 0.01
            latencies_ms[key] = ms * random.Random(key).uniform(0.7, 1.3)
            if after is not After.IMAGE:
                latencies_ms[boundary_key(shape, after)] = 0.002
        return make_table(latencies_ms)

    return build
