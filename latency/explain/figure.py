"""Where the time goes, drawn: a bar a block, stacked by kind of operation."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from latency.explain.network import Explanation, aligned
from latency.explain.trace import OpKind
from latency.figures import LINE, png

COLOURS = {
    OpKind.POINTWISE: "#1f5fbf",
    OpKind.DENSE: "#0b2f6b",
    OpKind.GROUPED: "#7fa8e0",
    OpKind.DEPTHWISE: "#2a9d8f",
    OpKind.SQUEEZE_EXCITE: "#e9a23b",
    OpKind.ACTIVATION: "#d1495b",
    OpKind.ELEMENTWISE: "#f2a3ae",
    OpKind.POOLING: "#8d6cab",
    OpKind.SHUFFLE: "#c9a4e0",
    OpKind.LINEAR: "#555555",
    OpKind.LAYOUT: "#a8440c",
    OpKind.CONVERSION: "#b5a300",
    OpKind.OTHER: "#c4c4c4",
}
_MARK: dict[str, Any] = {
    "color": LINE,
    "linestyle": "",
    "marker": "D",
    "markeredgecolor": "white",
    "markeredgewidth": 0.5,
    "markersize": 4,
}
_PANEL_INCHES, _BAR_INCHES, _FRAME_INCHES = 7.4, 0.27, 1.9


def draw_explanations(explanations: Sequence[Explanation]) -> bytes:
    """Traced milliseconds a block as a PNG, one panel a network; predictions are marked.

    Two networks stand stage by stage beside each other.
    """
    rows = _rows(explanations)
    figure = Figure(
        figsize=(
            _PANEL_INCHES * len(explanations),
            _FRAME_INCHES + _BAR_INCHES * (1 + max(map(max, rows))),
        ),
        layout="constrained",
    )
    panels = figure.subplots(1, len(explanations), sharex=True, squeeze=False)[0]
    for axes, explanation, positions in zip(panels, explanations, rows, strict=True):
        _draw(axes, explanation, positions)
        axes.set_ylim(max(map(max, rows)) + 0.6, -0.6)
    present = {kind.kind for explanation in explanations for kind in explanation.kinds}
    handles = [Patch(color=COLOURS[kind], label=kind) for kind in OpKind if kind in present]
    mark = Line2D([], [], label="predicted by the table", **_MARK)
    figure.legend(
        handles=[*handles, mark],
        loc="outside lower center",
        ncols=4 * len(explanations),
        frameon=False,
        fontsize=9,
    )
    return png(figure)


def _rows(explanations: Sequence[Explanation]) -> list[list[int]]:
    """On which row of the figure each block of each network stands."""
    if len(explanations) == 1:
        return [list(range(len(explanations[0].blocks)))]
    pairs = aligned(*explanations)
    return [[row for row, pair in enumerate(pairs) if pair[side] is not None] for side in (0, 1)]


def _draw(axes: Axes, explanation: Explanation, rows: Sequence[int]) -> None:
    blocks = explanation.blocks
    ends = [0.0] * len(blocks)
    for kind in OpKind:
        lengths = [block.kinds_ms.get(kind, 0.0) for block in blocks]
        if any(lengths):
            axes.barh(rows, lengths, left=ends, height=0.74, color=COLOURS[kind])
            ends = [end + length for end, length in zip(ends, lengths, strict=True)]
    predicted = [block.predicted_ms for block in blocks]
    axes.plot(predicted, rows, **_MARK)
    labels = [f"{block.description} → {block.output_shape}" for block in blocks]
    axes.set_yticks(rows, labels, fontsize=8)
    axes.set_xlabel("ms, by the trace")
    axes.set_title(
        f"{explanation.name}\n{explanation.latency_ms:.2f} ms end to end, "
        f"{explanation.traced_ms:.2f} ms in nodes, {explanation.predicted_ms:.2f} ms predicted",
        fontsize=10,
    )
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
