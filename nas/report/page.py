"""One self-contained HTML page a run."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas.report.summary import processor_name

_HERE = Path(__file__).parent


def page_templates(folder: Path) -> Environment:
    """A folder's templates, which may extend ``base.html.j2``. What they insert is escaped."""
    return Environment(
        loader=FileSystemLoader([folder, _HERE]), autoescape=True, undefined=StrictUndefined
    )


def embedded(png: bytes) -> str:
    """A picture as the address of an ``img``, which holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


_TEMPLATES = page_templates(_HERE)


def render_page(summary: Mapping[str, Any], network: str, pareto_png: bytes) -> bytes:
    """The report: verdict, figures, the network, how to reproduce. Nothing is loaded from outside.

    Args:
        summary: what ``summary.json`` holds.
        network: the winner as YAML text.
        pareto_png: the Pareto figure.
    """
    page = _TEMPLATES.get_template("report.html.j2").render(
        run=summary,
        network=network,
        pareto=embedded(pareto_png),
        processor=processor_name(summary["environment"]["device"]),
    )
    return page.encode()
