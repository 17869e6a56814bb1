"""Drawings: a thin layer on tables that are computed elsewhere."""

import pandas as pd
from matplotlib.figure import Figure

from latency.figures import png

_DOT, _FRONT, _TARGET, _WINNER = "#8a94a6", "#1f5fbf", "#b3261e", "#e08a00"


def draw_pareto(
    trials: pd.DataFrame, *, target_ms: float, winner: int, base: int | None, base_name: str
) -> bytes:
    """Accuracy over predicted latency as a PNG: every trial, the front, target, base and winner.

    Args:
        trials: ``trial_table``'s rows.
        target_ms: drawn as a vertical line.
        winner, base: trial numbers; ``base`` is the search's first network, where it could be
            trained.
        base_name: what the base is called in the legend.
    """
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    accuracy = 100 * trials["accuracy"]
    axes.scatter(trials["latency_ms"], accuracy, s=28, color=_DOT, label="trials")
    front = trials[trials["pareto"]].sort_values("latency_ms")
    axes.step(
        front["latency_ms"], 100 * front["accuracy"], where="post",
        color=_FRONT, marker="o", markersize=5, label="Pareto front",
    )  # fmt: skip
    axes.axvline(target_ms, color=_TARGET, linestyle="--", label=f"target {target_ms:g} ms")
    for number, marker, colour, label in (
        (base, "s", "black", base_name),
        (winner, "*", _WINNER, "winner"),
    ):
        if number is None:
            continue
        chosen = trials[trials["number"] == number]
        axes.scatter(
            chosen["latency_ms"], 100 * chosen["accuracy"],
            s=190 if marker == "*" else 60, marker=marker, color=colour,
            edgecolor="white", zorder=3, label=label,
        )  # fmt: skip
    axes.set_xlabel("predicted latency on this device, ms")
    axes.set_ylabel("validation accuracy after proxy training, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return png(figure)
