"""A network's blocks before and after a run, side by side."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from latency.table import LatencyTable
from nas.report.network import BlockRow, Layer, block_rows
from search_spaces.architecture import Architecture
from search_spaces.shapes import TensorShape

FIGURES = tuple(field.name for field in fields(Layer))


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerChange:
    """A block of the seed, and what became of it.

    Attributes:
        row: the block in the seed.
        row_after: in the last network; ``None``: it was left out.
    """

    row: BlockRow
    row_after: BlockRow | None

    @property
    def block(self) -> int:
        """Its index in the seed."""
        return self.row.block

    @property
    def became(self) -> int | None:
        """Its index in the last network; ``None``: it was left out."""
        return None if self.row_after is None else self.row_after.block

    @property
    def type(self) -> str:
        """As in the network's YAML."""
        return self.row.type

    @property
    def output(self) -> TensorShape:
        """Of the block in the seed."""
        return self.row.output

    @property
    def before(self) -> Layer:
        return self.row.layer

    @property
    def after(self) -> Layer | None:
        return None if self.row_after is None else self.row_after.layer

    @property
    def predicted_before_ms(self) -> float | None:
        """What it adds to the seed, by the table; ``None`` where the table lacks it."""
        return self.row.latency_ms

    @property
    def predicted_after_ms(self) -> float | None:
        """What it adds to the last network; ``None`` as well where it was left out."""
        return None if self.row_after is None else self.row_after.latency_ms

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
    after = dict(zip(origins, block_rows(best, table), strict=True))
    return [LayerChange(row=row, row_after=after.get(row.block)) for row in block_rows(seed, table)]


def layers_csv(layers: Sequence[LayerChange]) -> bytes:
    """A row a block of the seed, as CSV; empty where there is no such thing."""
    records = [layer.record() for layer in layers]
    text = io.StringIO()
    rows = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(records)
    return text.getvalue().encode()
