"""A network's blocks before and after a run, side by side."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, assert_never

from latency.context import walk_in_context
from latency.reach import Step
from latency.table import PS_PER_MS, LatencyTable, MissingEntryError
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
)
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.yaml_io import BLOCK_TYPES

_TYPE_NAMES = {block_type: name for name, block_type in BLOCK_TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What of a block a run may change. ``None``: the block has no such thing.

    Attributes:
        inside: the width inside: of the expansion of an inverted residual, the bottleneck or the
            branch of a ShuffleNet's unit, the hidden layer of the head.
        out: the width of the output; of a head, the classes.
        squeeze_excite: the width of its bottleneck.
        gate: the function that squeeze-and-excite ends with.
        kernel: in pixels; of several layers, that of the depthwise one.
    """

    inside: int | None = None
    out: int | None = None
    squeeze_excite: int | None = None
    gate: str | None = None
    kernel: int | None = None


FIGURES = tuple(field.name for field in fields(Layer))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """A block of the seed, and what became of it.

    Attributes:
        block: its index in the seed.
        became: its index in the last network; ``None``: it was left out.
        type: as in the network's YAML.
        output: of the block in the seed.
        after: ``None`` where it was left out.
        predicted_before_ms, predicted_after_ms: what it adds to its network, by the table;
            ``None`` where the table lacks it, or there is no block.
    """

    block: int
    became: int | None
    type: str
    output: TensorShape
    before: Layer
    after: Layer | None
    predicted_before_ms: float | None
    predicted_after_ms: float | None

    @property
    def is_changed(self) -> bool:
        return self.before != self.after

    def pair(self, figure: str) -> tuple[int | str | None, int | str | None]:
        """One of ``FIGURES`` before and after."""
        after = None if self.after is None else getattr(self.after, figure)
        return getattr(self.before, figure), after

    def record(self) -> dict[str, Any]:
        """Every figure, as plain data."""
        record: dict[str, Any] = {
            "block": self.block,
            "became": self.became,
            "type": self.type,
            "output": str(self.output),
        }
        for figure in FIGURES:
            record[f"{figure}_before"], record[f"{figure}_after"] = self.pair(figure)
        return record | {
            "predicted_before_ms": self.predicted_before_ms,
            "predicted_after_ms": self.predicted_after_ms,
        }


def compare_layers(
    seed: Architecture, best: Architecture, origins: Sequence[int], table: LatencyTable | None
) -> list[LayerChange]:
    """Every block of the seed beside what became of it, in the seed's order.

    Args:
        origins: of each block of ``best``, its index in the seed.
        table: predicts single blocks; without it there are no predictions.
    """
    steps_before, steps_after = walk_in_context(seed), walk_in_context(best)
    became = {source: index for index, source in enumerate(origins)}
    rows = []
    for index, step in enumerate(steps_before):
        block, shape, _ = step
        place = became.get(index)
        step_after = None if place is None else steps_after[place]
        rows.append(
            LayerChange(
                block=index,
                became=place,
                type=_TYPE_NAMES[type(block)],
                output=output_shape(block, shape),
                before=_layer(block),
                after=None if step_after is None else _layer(step_after[0]),
                predicted_before_ms=_predicted_ms(step, table),
                predicted_after_ms=_predicted_ms(step_after, table),
            )
        )
    return rows


def layers_csv(layers: Sequence[LayerChange]) -> bytes:
    """A row a block of the seed, as CSV; empty where there is no such thing."""
    records = [layer.record() for layer in layers]
    text = io.StringIO()
    rows = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(records)
    return text.getvalue().encode()


def _layer(block: Block) -> Layer:
    match block:
        case ConvNormAct() | DepthwiseSeparable():
            return _convolutional(block)
        case InvertedResidual():
            return _convolutional(block, block.expanded_channels)
        case ShuffleV1Unit():
            return Layer(
                inside=block.bottleneck_channels, out=block.out_channels, kernel=block.kernel
            )
        case ShuffleV2Unit():
            return Layer(inside=block.branch_channels, out=block.out_channels, kernel=block.kernel)
        case Pool():
            return Layer(kernel=block.kernel)
        case ClassifierHead():
            return Layer(inside=block.hidden_channels, out=block.num_classes)
        case _:
            assert_never(block)


def _convolutional(
    block: ConvNormAct | DepthwiseSeparable | InvertedResidual, inside: int | None = None
) -> Layer:
    squeeze = block.squeeze_excite
    return Layer(
        inside=inside,
        out=block.out_channels,
        squeeze_excite=None if squeeze is None else squeeze.channels,
        gate=None if squeeze is None else str(squeeze.gate),
        kernel=block.kernel,
    )


def _predicted_ms(step: Step | None, table: LatencyTable | None) -> float | None:
    if step is None or table is None:
        return None
    try:
        return table.block_cost_ps(*step) / PS_PER_MS
    except MissingEntryError:
        return None
