"""One self-contained HTML page a run: nothing is loaded from outside, and nothing could be."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nas.report import blocks_drawing, drawings, text
from nas.report.contents import SearchReport
from nas.report.explorer import FIGURES, choice_grid, explore_front
from nas.report.importance import Importance
from nas.report.network import BlockRow, total_ms
from nas.report.summary import environment_rows, processor_name
from nas.report.svg import Key

_HERE = Path(__file__).parent
_SHOWN = 12
"""Choices whose importance is shown at once; the others are folded away."""


def page_templates(folder: Path) -> Environment:
    """A folder's templates, which may extend ``base.html.j2``. What they insert is escaped.

    Drawings are the exception: ``|safe`` marks them, and their elements are escaped when made.
    """
    made = Environment(
        loader=FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = _asset("page.css"), _asset("page.js")
    made.globals |= {
        "style": style,
        "script": script,
        "policy": _policy(style, script),
        "draw": blocks_drawing,
        "environment_rows": environment_rows,
    }
    made.filters |= {
        "ms": text.ms,
        "percent": text.percent,
        "signed": text.signed_percent,
        "millions": text.millions,
    }
    return made


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text()


def _policy(style: str, script: str) -> str:
    """A content security policy under which the page runs its own script and loads nothing."""
    return (
        f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(content: str) -> str:
    """As a browser computes it of what stands between the tags."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


_TEMPLATES = page_templates(_HERE)


def render_page(report: SearchReport) -> bytes:
    """The report of a search, in the order in which a person asks."""
    explorer = explore_front(report.front)
    rows = {
        point.candidate.number: number for number, point in enumerate(report.front.points)
    }  # fmt: skip
    page = _TEMPLATES.get_template("report.html.j2").render(
        run=report.summary,
        report=report,
        explorer=explorer,
        figures=len(FIGURES),
        grid=choice_grid(explorer.names[len(FIGURES) :]),
        total_ms=total_ms(report.blocks),
        channels=blocks_drawing.widest(report.blocks),
        kernels=kernel_keys(report.blocks),
        importance_parts=list(enumerate(_parts(report.importances.rows))),
        front=drawings.draw_front(report.front, label=_front_label(report)),
        history=drawings.draw_history(
            report.history, rows=rows, label="The reward of each trial, and the best so far"
        ),
        errors=drawings.draw_errors(
            report.networks, label="How far predictions of whole networks are off"
        ),
        processor=processor_name(report.summary["environment"]["device"]),
    )
    return page.encode()


def kernel_keys(rows: Sequence[BlockRow]) -> list[Key]:
    """A legend of the kernels that a network has."""
    kernels = sorted({(row.layer.kernel or 1, blocks_drawing.kernel_class(row)) for row in rows})
    return [Key.of_area(class_, f"{kernel}×{kernel}") for kernel, class_ in kernels]


def _parts(rows: Sequence[Importance]) -> list[Sequence[Importance]]:
    """The choices that decide most, and the others."""
    return [part for part in (rows[:_SHOWN], rows[_SHOWN:]) if part]


def _front_label(report: SearchReport) -> str:
    return (
        f"Accuracy over predicted latency of {len(report.front.points)} networks, with the "
        "Pareto front, the target and published networks"
    )
