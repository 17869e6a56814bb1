"""A guideline's table as a figure."""

from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from latency.figures import png
from latency.guideline_graphs import SCALES, Guideline
from latency.guideline_verdict import Speeds, Verdict

_HERE, _CPU, _GPU, _LINE = "#1f5fbf", "#8a94a6", "#e08a00", "#222222"
_OFFSET = 0.2
"""How far the three markers of a row stand apart, in rows."""

_LINE_LENGTH = 120


def draw_guideline(guideline: Guideline, speeds: Speeds, verdict: Verdict) -> bytes:
    """Speeds relative to the first row, here and in the paper, a panel a column, as a PNG."""
    heading = [f"{guideline.name}: {guideline.title} – {verdict.outcome} on this device"]
    heading += [line for reason in verdict.reasons for line in wrap(reason, _LINE_LENGTH)]
    height = 1.6 + 0.18 * len(heading) + 0.42 * len(guideline.rows)
    figure = Figure(figsize=(9.6, height), layout="constrained")
    panels = figure.subplots(1, len(SCALES), sharex=True, sharey=True)
    for column, (axes, scale) in enumerate(zip(panels, SCALES, strict=True)):
        _draw_column(axes, guideline, speeds, column)
        axes.set_title(f"×{scale}", fontsize=10)
    rows = len(guideline.rows)
    panels[0].set_yticks(range(rows), [row.label for row in guideline.rows])
    panels[0].set_ylim(rows - 0.5, -0.5)
    panels[1].set_xlabel(f"speed relative to {guideline.rows[0].label}")
    figure.suptitle("\n".join(heading), fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return png(figure)


def _draw_column(axes: Axes, guideline: Guideline, speeds: Speeds, column: int) -> None:
    rows = range(len(guideline.rows))
    first = guideline.rows[0].label
    ratios = [speeds[row.label][column].over(speeds[first][column]) for row in guideline.rows]
    axes.axvline(1, color=_LINE, linewidth=0.8)
    axes.errorbar(
        [ratio.value for ratio in ratios], [row - _OFFSET for row in rows],
        xerr=[ratio.value * ratio.interval for ratio in ratios],
        fmt="o", markersize=6, capsize=3, color=_HERE, label="this device, 95 % interval",
    )  # fmt: skip
    for platform, marker, colour, offset in (("cpu", "s", _CPU, 0.0), ("gpu", "^", _GPU, _OFFSET)):
        figures = guideline.paper(platform)
        known = [row for row in rows if guideline.rows[row].label in figures]
        axes.errorbar(
            [figures[guideline.rows[row].label][column] / figures[first][column] for row in known],
            [row + offset for row in known],
            fmt=marker, markersize=6, color=colour, label=f"the paper's {platform.upper()}",
        )  # fmt: skip
    axes.grid(alpha=0.3, axis="x")
