"""Drawings: a thin layer on what is computed elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from latency.figures import png
from netadapt.report.drawings import numbered
from netadapt.report.layers import LayerChange

_STEPS, _SEED, _TARGET, _BEST, _PREDICTED = "#1f5fbf", "#222222", "#b3261e", "#e08a00", "#8a94a6"
_KEPT, _BEFORE = "#a9c3ea", "#e3e6ec"


def draw_trajectory(summary: Mapping[str, Any]) -> bytes:
    """Accuracy over measured latency, and latency step by step, as a PNG.

    Steps are numbered as in the table of steps; all latencies are where the seed takes what it
    took when the run began. Its accuracy's 95 % interval is shaded: what differs by less may be
    chance.

    Args:
        summary: what ``summary.json`` holds.
    """
    figure = Figure(figsize=(7.5, 7.4), layout="constrained")
    accuracy, latency = figure.subplots(2, 1, height_ratios=(3, 2))
    _draw_accuracy(accuracy, summary)
    _draw_latency(latency, summary)
    for axes in (accuracy, latency):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8)
    return png(figure)


def _draw_accuracy(axes: Axes, summary: Mapping[str, Any]) -> None:
    states = [summary["seed"], *summary["steps"]]
    latencies = [state["measured_ms"] for state in states]
    accuracies = [100 * state["accuracy"] for state in states]
    axes.plot(latencies, accuracies, color=_STEPS, marker="o", markersize=4, label="steps")
    axes.plot(latencies[:1], accuracies[:1], "s", color=_SEED, markersize=8, label="seed")
    axes.margins(y=0.15)
    limits = axes.get_ylim()
    low, high = (100 * bound for bound in summary["accuracy"]["intervals"]["seed_proposals"])
    axes.axhspan(low, high, color=_SEED, alpha=0.07, linewidth=0, label="seed's 95 %\ninterval")
    axes.set_ylim(limits)
    ends = summary["trajectory"]
    axes.axvline(ends["target_ms"], color=_TARGET, linestyle="--", label="target")
    axes.axvline(ends["best_ms"], color=_BEST, label="best.onnx")
    for position, number in enumerate(numbered(len(states) - 1)):
        above = position % 2 == 0
        axes.annotate(
            str(number),
            (latencies[number], accuracies[number]),
            xytext=(0, 6 if above else -6),
            textcoords="offset points",
            ha="center",
            va="bottom" if above else "top",
            fontsize=8,
            path_effects=[withStroke(linewidth=2, foreground="white")],
        )
    axes.set_xlabel("measured latency on this device, ms")
    axes.set_ylabel("accuracy, images kept for proposals, %")


def _draw_latency(axes: Axes, summary: Mapping[str, Any]) -> None:
    ends, states = summary["trajectory"], [summary["seed"], *summary["steps"]]
    for name, colour in (("predicted", _PREDICTED), ("measured", _STEPS)):
        latencies = [state[f"{name}_ms"] for state in states]
        axes.plot(latencies, color=colour, marker="o", markersize=4, label=name)
    axes.axhline(ends["target_ms"], color=_TARGET, linestyle="--", label="target")
    axes.plot(len(states) - 1, ends["best_ms"], "D", color=_BEST, label="best.onnx")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("step")
    axes.set_ylabel("latency, ms")


def draw_widths(layers: Sequence[LayerChange]) -> bytes:
    """What is left of every width, relative to the seed's, as a PNG: inside blocks and of outputs.

    What is not changed is pale; a block that was left out has nothing left.
    """
    figure = Figure(figsize=(7.5, 1.1 + 0.25 * len(layers)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name, title in zip(
        panels, ("inside", "out"), ("channels inside", "channels of the output"), strict=True
    ):
        for row, layer in enumerate(layers):
            _draw_width(axes, row, *layer.pair(name))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("% of the seed's")
        axes.set_xlim(0, 142)
        axes.set_xticks(range(0, 101, 25))
        axes.tick_params(axis="y", length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[0].set_yticks(
        range(len(layers)), [f"{layer.type} {layer.block}" for layer in layers], fontsize=8
    )
    panels[0].invert_yaxis()
    return png(figure)


def _draw_width(axes: Axes, row: int, before: Any, after: Any) -> None:
    if before is None:
        return
    left = 0 if after is None else after
    axes.barh(row, 100, height=0.74, color=_BEFORE)
    axes.barh(row, 100 * left / before, height=0.74, color=_KEPT if left == before else _STEPS)
    text = str(before) if left == before else f"{before} → {left}"
    axes.text(103, row, text, va="center", fontsize=8, color=_SEED)
