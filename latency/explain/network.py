"""A network's latency, by block and by kind of operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from math import fsum
from typing import Any, assert_never

from latency.context import walk_in_context
from latency.explain.trace import OpKind, TracedNode, madds_by_kind, traced_nodes
from latency.keys import network_key
from latency.table import PS_PER_MS, Entry, LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.costs import count_costs
from search_spaces.shapes import TensorShape, output_shape


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShare:
    """A block's part of its network.

    Attributes:
        stage: how often the resolution has changed, its own stride included.
        predicted_ms: by the table.
        kinds_ms: by the trace.
    """

    index: int
    description: str
    stage: int
    output_shape: TensorShape
    madds: int
    params: int
    predicted_ms: float
    kinds_ms: dict[OpKind, float]

    @property
    def traced_ms(self) -> float:
        return fsum(self.kinds_ms.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class KindShare:
    """A kind of operation's part of a network, by the trace."""

    kind: OpKind
    traced_ms: float
    madds: int

    @property
    def gmadds_per_second(self) -> float | None:
        """Thousand million multiply-adds a second; None for what does none, or takes no time."""
        return self.madds / self.traced_ms / 1e6 if self.madds and self.traced_ms else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where a network's time goes.

    Attributes:
        latency_ms: end to end, measured beside the blocks.
        interval: half the 95 % interval of ``latency_ms``, relative.
        nodes: all nodes of the trace, in order.
        kinds: those that the network has, in the order of ``OpKind``.
    """

    name: str
    resolution: int
    latency_ms: float
    interval: float
    blocks: tuple[BlockShare, ...]
    kinds: tuple[KindShare, ...]
    nodes: tuple[TracedNode, ...]

    @property
    def traced_ms(self) -> float:
        """All nodes together."""
        return fsum(node.latency_ms for node in self.nodes)

    @property
    def between_nodes_ms(self) -> float:
        """End to end, less the nodes; below 0 where the machine was slower while it traced."""
        return self.latency_ms - self.traced_ms

    @property
    def predicted_ms(self) -> float:
        return fsum(block.predicted_ms for block in self.blocks)

    @property
    def madds(self) -> int:
        return sum(block.madds for block in self.blocks)

    def record(self) -> dict[str, Any]:
        """Every number, as plain data."""
        traced_ms, predicted_ms, madds = self.traced_ms, self.predicted_ms, self.madds
        return {
            "name": self.name,
            "resolution": self.resolution,
            "latency_ms": self.latency_ms,
            "interval": self.interval,
            "traced_ms": traced_ms,
            "between_nodes_ms": self.between_nodes_ms,
            "predicted_ms": predicted_ms,
            "madds": madds,
            "blocks": [
                {
                    "index": block.index,
                    "description": block.description,
                    "stage": block.stage,
                    "output_shape": str(block.output_shape),
                    "madds": block.madds,
                    "params": block.params,
                    "predicted_ms": block.predicted_ms,
                    "predicted_share": share(block.predicted_ms, predicted_ms),
                    "traced_ms": block.traced_ms,
                    "traced_share": share(block.traced_ms, traced_ms),
                    "kinds_ms": {str(kind): ms for kind, ms in block.kinds_ms.items()},
                }
                for block in self.blocks
            ],
            "kinds": [
                {
                    "kind": str(kind.kind),
                    "traced_ms": kind.traced_ms,
                    "traced_share": share(kind.traced_ms, traced_ms),
                    "madds": kind.madds,
                    "madds_share": share(kind.madds, madds),
                    "gmadds_per_second": kind.gmadds_per_second,
                }
                for kind in self.kinds
            ],
            "nodes": [
                {
                    "name": node.name,
                    "operator": node.operator,
                    "block": node.block,
                    "kind": str(node.kind),
                    "latency_ms": node.latency_ms,
                }
                for node in self.nodes
            ],
        }


def share(part: float, whole: float) -> float:
    """``part / whole``; 0 of nothing."""
    return part / whole if whole else 0.0


def explain_network(network: Architecture, table: LatencyTable, trace: Entry) -> Explanation:
    """What the table says of a network and of its blocks, and what a trace says of its nodes.

    Raises:
        MissingEntryError: the table lacks the network, or a block of it.
        ValueError: the entry holds no times of nodes.
    """
    if not trace.ops:
        raise ValueError(
            f"this device gives no times of the nodes of {network.name}; give one whose runtime "
            "does: --device local or ssh:HOST"
        )
    nodes = traced_nodes(network, trace.ops)
    whole = table.entry(network_key(network))
    return Explanation(
        name=network.name,
        resolution=network.resolution,
        latency_ms=whole.latency_ms,
        interval=whole.interval,
        blocks=_block_shares(network, table, nodes),
        kinds=_kind_shares(network, nodes),
        nodes=tuple(nodes),
    )


def aligned(
    first: Explanation, second: Explanation
) -> list[tuple[BlockShare | None, BlockShare | None]]:
    """The blocks of two networks side by side: stage by stage, in order; the heads last."""
    bodies = first.blocks[:-1], second.blocks[:-1]
    pairs: list[tuple[BlockShare | None, BlockShare | None]] = []
    for stage in sorted({block.stage for body in bodies for block in body}):
        left, right = ([block for block in body if block.stage == stage] for body in bodies)
        pairs += zip_longest(left, right)
    return [*pairs, (first.blocks[-1], second.blocks[-1])]


def _block_shares(
    network: Architecture, table: LatencyTable, nodes: Sequence[TracedNode]
) -> tuple[BlockShare, ...]:
    shares = []
    stage, height = 0, network.resolution
    steps = zip(walk_in_context(network), count_costs(network).blocks, strict=True)
    for index, ((block, shape, after), costs) in enumerate(steps):
        result = output_shape(block, shape)
        stage += result.height != height
        height = result.height
        shares.append(
            BlockShare(
                index=index,
                description=describe_block(block),
                stage=stage,
                output_shape=result,
                madds=costs.madds,
                params=costs.params,
                predicted_ms=table.block_cost_ps(block, shape, after) / PS_PER_MS,
                kinds_ms=_by_kind([node for node in nodes if node.block == index]),
            )
        )
    return tuple(shares)


def _kind_shares(network: Architecture, nodes: Sequence[TracedNode]) -> tuple[KindShare, ...]:
    times, madds = _by_kind(nodes), madds_by_kind(network)
    return tuple(
        KindShare(kind=kind, traced_ms=times.get(kind, 0.0), madds=madds.get(kind, 0))
        for kind in OpKind
        if kind in times or kind in madds
    )


def _by_kind(nodes: Sequence[TracedNode]) -> dict[OpKind, float]:
    present = {node.kind for node in nodes}
    return {
        kind: fsum(node.latency_ms for node in nodes if node.kind is kind)
        for kind in OpKind
        if kind in present
    }


def describe_block(block: Block) -> str:
    """``bneck 5x5 /2, 72, SE 24``: kernel, stride, inner width, and what else is there.

    Output channels are left to the output's shape.
    """
    match block:
        case ConvNormAct():
            parts = [f"conv {_window(block.kernel, block.stride)}"]
            parts += _extras(block.squeeze_excite, block.skip)
        case DepthwiseSeparable():
            parts = [f"separable {_window(block.kernel, block.stride)}"]
            parts += _extras(block.squeeze_excite, block.skip)
        case InvertedResidual():
            window = _window(block.kernel, block.stride)
            parts = [f"bneck {window}", str(block.expanded_channels)]
            parts += _extras(block.squeeze_excite, block.skip)
        case ShuffleV1Unit():
            window = _window(block.kernel, block.stride)
            parts = [f"shuffle v1 {window}", str(block.bottleneck_channels), f"g {block.groups}"]
        case ShuffleV2Unit():
            window = _window(block.kernel, block.stride)
            parts = [f"shuffle v2 {window}", str(block.branch_channels)]
        case Pool():
            parts = [f"{block.kind} pool {_window(block.kernel, block.stride)}"]
        case ClassifierHead():
            hidden = block.hidden_channels
            parts = ["head"] if hidden is None else ["head", str(hidden)]
        case _:
            assert_never(block)
    return ", ".join(parts)


def _window(kernel: int, stride: int) -> str:
    return f"{kernel}x{kernel}" + (f" /{stride}" if stride > 1 else "")


def _extras(squeeze_excite: SqueezeExcite | None, skip: Skip) -> list[str]:
    extras = [] if squeeze_excite is None else [f"SE {squeeze_excite.channels}"]
    return extras + ([] if skip is Skip.NONE else ["skip" if skip is Skip.IDENTITY else "pooled"])
