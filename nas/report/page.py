"""One self-contained HTML page a run."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas.report.summary import processor

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
)


def render_page(summary: Mapping[str, Any], network: str, pareto_png: bytes) -> bytes:
    """The report: verdict, figures, the network, how to reproduce. Nothing is loaded from outside.

    Args:
        summary: what ``summary.json`` holds.
        network: the winner as YAML text.
        pareto_png: the Pareto figure.
    """
    image = base64.b64encode(pareto_png).decode()
    template = _TEMPLATES.get_template("report.html.j2")
    parts = {"processor": processor(summary), "network": network, "pareto": image}
    return template.render(run=summary, **parts).encode()
