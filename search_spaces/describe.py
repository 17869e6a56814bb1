"""``python -m search_spaces.describe``: costs of networks beside what was published of them.

One name alone also prints the network layer by layer. Rows are computed first, then drawn.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from search_spaces.architecture import Architecture
from search_spaces.costs import Costs, count_costs
from search_spaces.layer_table import LayerRow, layer_rows
from search_spaces.seeds import PublishedFigures, load_seed, read_seed, seed_names

PUBLISHED_RESOLUTION = 224
LINE_WIDTH = 1000

CONVENTION = """\
One MAdd is one fused multiply-add of a convolution or a linear layer; bias, normalisation,
activation, pooling and element-wise operations count none.
MAC is ShuffleNetV2's memory access cost in values at batch 1: a convolution moves
hw(c1 + c2) + k²·c1·c2/g, an element-wise or copying operation its inputs and its output.
Peak is the most activation memory alive at once at batch 1, 4 bytes a value; 1 MB is 10^6 bytes.
Published parameters are exact where a public implementation was counted; figures in M are compared
at the digits their paper prints."""
LAYER_LEGEND = """\
SE: channels of the squeeze-and-excite bottleneck. NL: RE ReLU, RE6 ReLU6, HS h-swish, SW swish.
NBN: no batch normalisation. s: stride. n: how often the layer stands there in a row.
exp size: the expanded, bottleneck (ShuffleNet) or branch (ShuffleNetV2) channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryRow:
    """One network: its costs, and what was published of it, if anything."""

    label: str
    resolution: int
    costs: Costs
    published: PublishedFigures | None = None

    @property
    def params_difference(self) -> float | None:
        """Our parameters against the published ones, in %."""
        if self.published is None:
            return None
        if self.published.params is not None:
            return _percent(self.costs.params, self.published.params)
        if self.published.params_millions is not None:
            return _percent(round(self.costs.params / 1e6, 1), self.published.params_millions)
        return None

    @property
    def madds_difference(self) -> float | None:
        """Our MAdds against the published ones, in %; ``None`` where the image sizes differ."""
        if self.published is None or self.published.madds_millions is None:
            return None
        if self.resolution != PUBLISHED_RESOLUTION:
            return None
        return _percent(self.costs.madds / 1e6, self.published.madds_millions)


def _percent(ours: float, published: float) -> float:
    return 100 * (ours / published - 1)


def summary_rows(
    names: Iterable[str] = (), width: float | None = None, resolution: int | None = None
) -> list[SummaryRow]:
    """A row for every network, and one for every published width of a seed.

    Args:
        names: seeds or paths of YAML files; none means all seeds.
        width: this width multiplier alone, instead of the published ones.
        resolution: image height and width, instead of each network's own.

    Raises:
        ValueError: an unknown seed, an invalid file, or a width or resolution out of range.
        OSError: a file cannot be read.
    """
    rows: list[SummaryRow] = []
    for name in tuple(names) or seed_names():
        if _is_file(name):
            network = load_network(name, width, resolution)
            rows.append(_summary_row(network.name, network))
            continue
        published = {figures.width: figures for figures in read_seed(name).published}
        widths = _widths(published) if width is None else [width]
        for each in widths:
            label = name if each == 1 else f"{name} ×{each:g}"
            network = load_seed(name, each, resolution)
            rows.append(_summary_row(label, network, published.get(each)))
    return rows


def _widths(published: Iterable[float]) -> list[float]:
    return [1.0, *sorted(set(published) - {1.0}, reverse=True)]


def _summary_row(
    label: str, network: Architecture, published: PublishedFigures | None = None
) -> SummaryRow:
    return SummaryRow(
        label=label,
        resolution=network.resolution,
        costs=count_costs(network).total,
        published=published,
    )


def load_network(
    name: str, width: float | None = None, resolution: int | None = None
) -> Architecture:
    """A seed, or the network of a YAML file; raises as ``summary_rows`` does."""
    if not _is_file(name):
        return load_seed(name, 1.0 if width is None else width, resolution)
    if width is not None:
        raise ValueError(f"--width needs a seed; {name} is a file, which says its widths itself")
    try:
        network = Architecture.from_yaml(Path(name))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return network if resolution is None else network.with_resolution(resolution)


def _is_file(name: str) -> bool:
    if name in seed_names():
        return False
    return Path(name).suffix in (".yaml", ".yml") or Path(name).is_file()


def summary_table(rows: Sequence[SummaryRow]) -> Table:
    """The costs of networks, one a line."""
    table = Table(box=SIMPLE_HEAD)
    table.add_column("network")
    for header in (
        "params", "published", "diff %", "MAdds (M)", "published", "diff %", "MAC (M)", "peak (MB)",
    ):  # fmt: skip
        table.add_column(header, justify="right")
    for row in rows:
        costs = row.costs
        table.add_row(
            row.label
            if row.resolution == PUBLISHED_RESOLUTION
            else f"{row.label} @{row.resolution}",
            f"{costs.params:,}",
            _published_params(row.published),
            _signed(row.params_difference),
            f"{costs.madds / 1e6:.2f}",
            _cell(row.published and row.published.madds_millions),
            _signed(row.madds_difference),
            f"{costs.memory_access / 1e6:.2f}",
            f"{costs.peak_activation_bytes / 1e6:.2f}",
        )
    return table


def layer_table(network: Architecture) -> Table:
    """The layers of one network; columns that stay empty are left out."""
    rows = layer_rows(network)
    columns: dict[str, list[Any]] = {
        "Input": [_shape(row) for row, _ in rows],
        "Operator": [row.operator for row, _ in rows],
        "g": [row.groups for row, _ in rows],
        "exp size": [row.inside for row, _ in rows],
        "#out": [row.out for row, _ in rows],
        "SE": [row.squeeze_excite for row, _ in rows],
        "NL": [row.nonlinearity for row, _ in rows],
        "s": [row.stride for row, _ in rows],
        "skip": [row.skip for row, _ in rows],
        "n": [count for _, count in rows],
    }
    columns = {header: cells for header, cells in columns.items() if any(cells)}
    table = Table(box=SIMPLE_HEAD)
    for header in columns:
        justify: Literal["left", "right"] = "left" if header in ("Input", "Operator") else "right"
        table.add_column(header, justify=justify)
    for line in zip(*columns.values(), strict=True):
        table.add_row(*map(_cell, line))
    return table


def _shape(row: LayerRow) -> str:
    return f"{row.input_shape.height}² × {row.input_shape.channels}"


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _signed(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:+.2f}" if percent else "0.00"


def _published_params(published: PublishedFigures | None) -> str:
    if published is None:
        return "-"
    if published.params is not None:
        return f"{published.params:,}"
    return "-" if published.params_millions is None else f"{published.params_millions} M"


def notes(rows: Iterable[SummaryRow]) -> list[str]:
    """Why a count differs from the published one, for every row whose source has a reason."""
    return [
        f"{row.label}: {row.published.source}: {row.published.note}"
        for row in rows
        if row.published is not None and row.published.note
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m search_spaces.describe",
        description="Costs of networks beside what was published; one name prints its layers too.",
        exit_on_error=False,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a seed or a YAML file")
    parser.add_argument("--width", type=float, help="width multiplier of the seeds")
    parser.add_argument("--resolution", type=int, help="image height and width in pixels")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; returns the exit code, 2 with one line on stderr for bad input."""
    try:
        args = _parser().parse_args(argv)
        rows = summary_rows(args.names, args.width, args.resolution)
        if single := len(args.names) == 1:
            network = load_network(args.names[0], args.width, args.resolution)
    except (argparse.ArgumentError, ValueError, OSError) as error:
        print(f"describe: {error}", file=sys.stderr)
        return 2
    # Folded into 80 columns, or cut there by a pipe, the numbers could not be read.
    console = Console(width=LINE_WIDTH, markup=False, highlight=False, emoji=False)
    if single:
        console.print(layer_table(network))
        console.print(LAYER_LEGEND)
        rows = rows[:1]
    console.print(summary_table(rows))
    for note in notes(rows):
        console.print(f"* {note}")
    console.print(CONVENTION)
    return 0


if __name__ == "__main__":
    sys.exit(main())
