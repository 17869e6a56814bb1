"""Drawings of what the commands of this package found."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from latency.fidelity import Fidelity

DOT, LINE, BAND = "#1f5fbf", "#222222", "#8a94a6"


def draw_validation(networks: Sequence[Mapping[str, Any]], prediction: Fidelity) -> bytes:
    """Predicted over measured latency as a PNG, with the ±5 % band."""
    measured = [network["measured_ms"] for network in networks]
    predicted = [network["predicted_ms"] for network in networks]
    ends = [0.9 * min(measured), 1.1 * max(measured)]
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(ends, ends, color=LINE, linewidth=1)
    axes.fill_between(
        ends, [0.95 * end for end in ends], [1.05 * end for end in ends],
        color=BAND, alpha=0.3, linewidth=0, label="±5 %",
    )  # fmt: skip
    axes.scatter(measured, predicted, s=22, color=DOT, edgecolor="white", linewidth=0.4)
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="measured, ms",
        ylabel="predicted, ms",
        title=f"{prediction.networks} networks: MAPE {prediction.mape:.1%}, "
        f"{prediction.within_5:.0%} within ±5 %",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="upper left")
    return png(figure)


def png(figure: Figure) -> bytes:
    """A figure as a PNG file's content."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
