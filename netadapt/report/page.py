"""One self-contained HTML page a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.report.page import embedded, page_templates
from nas.report.summary import processor_name
from netadapt.report.layers import LayerChange

_TEMPLATES = page_templates(Path(__file__).parent)


def render_page(
    summary: Mapping[str, Any],
    layers: Sequence[LayerChange],
    network: str,
    *,
    trajectory_png: bytes,
    widths_png: bytes,
) -> bytes:
    """The report, in the order in which a person asks. Nothing is loaded from outside.

    Args:
        summary: what ``summary.json`` holds.
        layers: the seed's blocks beside what became of them.
        network: the last network as YAML text.
        trajectory_png, widths_png: the figures.
    """
    page = _TEMPLATES.get_template("report.html.j2").render(
        run=summary,
        layers=layers,
        network=network,
        trajectory=embedded(trajectory_png),
        widths=embedded(widths_png),
        processor=processor_name(summary["device"]["device"]),
    )
    return page.encode()
