"""One self-contained HTML page a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.report import blocks_drawing
from nas.report.network import BlockRow
from nas.report.page import kernel_keys, page_templates
from nas.report.summary import processor_name
from netadapt.report.drawings import draw_latencies, draw_trajectory, explore_steps
from netadapt.report.layers import LayerChange

_TEMPLATES = page_templates(Path(__file__).parent)


def render_page(summary: Mapping[str, Any], layers: Sequence[LayerChange], network: str) -> bytes:
    """The report, in the order in which a person asks. Nothing is loaded from outside.

    Args:
        summary: what ``summary.json`` holds.
        layers: the seed's blocks beside what became of them.
        network: the last network as YAML text.
    """
    device = summary["device"]
    before, after = [layer.row for layer in layers], _after(layers)
    known = [row.latency_ms for row in before if row.latency_ms is not None]
    page = _TEMPLATES.get_template("report.html.j2").render(
        run=summary,
        layers=layers,
        network=network,
        trajectory=draw_trajectory(summary),
        latencies=draw_latencies(summary),
        explorer=explore_steps(summary),
        channels=blocks_drawing.widest(before),
        slowest=max(known, default=0.0),
        kernels=kernel_keys([*before, *after]),
        runtime={name: value for name, value in device.items() if name != "device"},
        processor=processor_name(device["device"]),
    )
    return page.encode()


def _after(layers: Sequence[LayerChange]) -> list[BlockRow]:
    return [layer.row_after for layer in layers if layer.row_after is not None]
