"""How fast and how slow the networks of a space can be, without walking all of them."""

from collections.abc import Callable
from functools import cache, partial

from latency.table import LatencyTable
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.spaces import SearchSpace


def reachable_range_ms(space: SearchSpace, table: LatencyTable) -> tuple[float, float]:
    """The lowest and the highest predicted latency of any network of the space, exact.

    Dynamic programming over the stages: what a stage's layers cost depends on the networks before
    it through their output shape alone, so a lowest and a highest sum per shape is all that is
    carried from stage to stage.

    Raises:
        MissingEntryError: the table lacks a block that some network of the space has.
        TableError: the table's entries cannot be added up.
    """
    latency_ms = cache(table.block_latency_ms)
    cost = partial(_cost_ms, latency_ms)
    stem_ms, shape = cost(space.stem, space.input_shape)
    ranges = {shape: (stem_ms, stem_ms)}
    for stage in space.stages:
        following: dict[TensorShape, tuple[float, float]] = {}
        for shape, (low, high) in ranges.items():
            for layers in space.stage_outcomes(stage, shape):
                added, out = cost(layers, shape)
                best, worst = following.get(out, (float("inf"), 0.0))
                following[out] = min(best, low + added), max(worst, high + added)
        ranges = following
    heads = {shape: cost(space.head, shape)[0] for shape in ranges}
    return (
        table.overhead_ms + min(low + heads[shape] for shape, (low, _) in ranges.items()),
        table.overhead_ms + max(high + heads[shape] for shape, (_, high) in ranges.items()),
    )


def _cost_ms(
    latency_ms: Callable[[Block, TensorShape], float],
    blocks: tuple[Block, ...],
    shape: TensorShape,
) -> tuple[float, TensorShape]:
    """What successive blocks add to a network, and the shape after them."""
    added = 0.0
    for block in blocks:
        added += latency_ms(block, shape)
        shape = output_shape(block, shape)
    return added, shape
