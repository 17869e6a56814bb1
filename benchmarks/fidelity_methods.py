"""Ways to say what a block adds to a network: which graphs they time, and how these add up.

Every way is a sum of *terms*, timed graphs with coefficients. Chained copies of a block, for
instance, are one term and the block once is another: (T(1 + n copies) − T(1)) / n.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeAlias

from latency.context import After, between_stubs, boundary
from latency.keys import alone_key, block_key, boundary_key
from latency.plan import MeasureSettings, PlanEntry, graph_entry
from latency.reach import Step
from latency.table import LatencyTable
from search_spaces.blocks import Activation, ClassifierHead
from search_spaces.lowering import INPUT, LoweredBlock, lower_block
from search_spaces.ops import Activate
from search_spaces.shapes import TensorShape, output_shape

COPIES = 4
"""That a chain has beside the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Something to be timed.

    Attributes:
        key: its name in the table.
        lower: its operations.
        alone: whether its runs follow each other instead of runs of the reference network.
    """

    key: str
    lower: Callable[[], Sequence[LoweredBlock]]
    alone: bool = False

    def entry(self, settings: MeasureSettings) -> PlanEntry:
        return graph_entry(
            self.key,
            self.lower(),
            batch=settings.batch,
            precision=settings.precision,
            alone=self.alone,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was measured of a graph.

    Attributes:
        latency_ms: what a table says: of undisturbed runs, at the machine's usual speed.
        median_ms: median over the visits of their medians: what the clock said, drift and all.
        bracketed_ms: median over the visits of latency ÷ that of the reference network before and
            after them, times the reference network's latency.
        seconds: what all its timed runs took.
    """

    latency_ms: float
    median_ms: float
    bracketed_ms: float
    seconds: float


Terms: TypeAlias = tuple[tuple[Graph, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One way.

    Attributes:
        terms: of a block in its place.
        figure: which of a graph's figures is added up, in milliseconds.
    """

    name: str
    terms: Callable[[Step], Terms]
    figure: Callable[[Reading], float] = lambda reading: reading.latency_ms

    def added_ms(self, step: Step, readings: Mapping[str, Reading]) -> float:
        """What a block adds to a network."""
        terms = ((readings[graph.key], factor) for graph, factor in self.terms(step))
        return max(0.0, sum(factor * self.figure(reading) for reading, factor in terms))

    def keys(self, steps: Iterable[Step]) -> frozenset[str]:
        """Of all that it times for these blocks."""
        return frozenset(graph.key for step in steps for graph, _ in self.terms(step))


def isolated(step: Step) -> Terms:
    """The block by itself, run after run."""
    return ((_bare(step), 1.0),)


def isolated_less_run(step: Step) -> Terms:
    """The same without what a run costs by itself."""
    return ((_bare(step), 1.0), (_EMPTY_RUN, -1.0))


def isolated_in_turns(step: Step) -> Terms:
    """The block by itself, in turns with others."""
    block, shape, _ = step
    key = f"{alone_key(block, shape)}, in turns"
    return ((Graph(key=key, lower=lambda: [lower_block(block, shape)]), 1.0),)


def context(step: Step) -> Terms:
    """The block between its stubs without these, in turns with others."""
    _, shape, after = step
    block_graph = Graph(key=block_key(*step), lower=partial(between_stubs, *step))
    if after is After.IMAGE:
        return ((block_graph, 1.0),)
    stubs = Graph(key=boundary_key(shape, after), lower=partial(boundary, shape, after))
    return ((block_graph, 1.0), (stubs, -1.0))


def context_hot(step: Step) -> Terms:
    """The same, run after run."""
    return tuple(
        (Graph(key=f"{graph.key}, hot", lower=graph.lower, alone=True), factor)
        for graph, factor in context(step)
    )


def chained(step: Step) -> Terms:
    """What another copy adds behind the block, run after run.

    Every copy has weights of its own. A block that cannot follow itself is timed between stubs.
    """
    block, shape, _ = step
    if isinstance(block, ClassifierHead) or output_shape(block, shape) != shape:
        return context_hot(step)
    key = f"{alone_key(block, shape)}, {1 + COPIES} copies"
    copies = Graph(key=key, lower=partial(_chain, step), alone=True)
    return ((copies, 1 / COPIES), (_bare(step), -1 / COPIES))


def _bare(step: Step) -> Graph:
    block, shape, _ = step
    return Graph(key=alone_key(block, shape), lower=lambda: [lower_block(block, shape)], alone=True)


def _chain(step: Step) -> list[LoweredBlock]:
    block, shape, _ = step
    copies = [lower_block(block, shape, name="copies.0")]
    for index in range(1, 1 + COPIES):
        source = copies[-1].output_name
        copies.append(lower_block(block, shape, name=f"copies.{index}", input_name=source))
    return copies


def _empty() -> list[LoweredBlock]:
    """As little as a graph can compute: a ReLU of one number."""
    shape = TensorShape(1, 1, 1)
    op = Activate(
        name="empty.relu", inputs=(INPUT,), output_shape=shape, activation=Activation.RELU
    )
    return [LoweredBlock("empty", INPUT, shape, (op,))]


_EMPTY_RUN = Graph(key="Relu@1x1x1 alone", lower=_empty, alone=True)

METHODS = (
    Method(name="isolated", terms=isolated, figure=lambda reading: reading.median_ms),
    Method(name="less_run", terms=isolated_less_run, figure=lambda reading: reading.median_ms),
    Method(name="bracketed", terms=isolated, figure=lambda reading: reading.bracketed_ms),
    Method(name="turns", terms=isolated_in_turns),
    Method(name="context_hot", terms=context_hot),
    Method(name="context", terms=context),
    Method(name="chained", terms=chained),
)


def graph_builders(
    steps: Iterable[Step], settings: MeasureSettings
) -> dict[str, Callable[[], PlanEntry]]:
    """All that the methods time for these blocks, by key."""
    graphs = {
        graph.key: graph for step in steps for method in METHODS for graph, _ in method.terms(step)
    }
    return {key: partial(graph.entry, settings) for key, graph in graphs.items()}


def readings_of(table: LatencyTable, visits: Sequence[Mapping[str, Any]]) -> dict[str, Reading]:
    """What a table and its lines say of every graph, by key."""
    seconds: dict[str, float] = {}
    ratios: dict[str, list[float]] = {}
    for visit in visits:
        key, took = visit["key"], visit["runs"] * visit["median_ms"] / 1e3
        seconds[key] = seconds.get(key, 0.0) + took
        ratios.setdefault(key, []).append(visit["latency_ms"] / visit["reference_ms"])
    return {
        entry.key: Reading(
            latency_ms=entry.latency_ms,
            median_ms=entry.median_ms,
            bracketed_ms=median(ratios[entry.key]) * table.reference_ms,
            seconds=seconds[entry.key],
        )
        for entry in table.entries
    }
