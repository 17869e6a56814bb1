"""The report page: self-contained, escaped, and with its verdict at the top."""

import base64
from collections.abc import Callable
from typing import Any

import jinja2
import pytest

from nas.report.page import render_page
from tests.pages import Page

MakeSummary = Callable[..., dict[str, Any]]

PNG = b"\x89PNG\r\n\x1a\n not a picture"
NETWORK = "blocks:\n  - {type: conv_norm_act}\n# </pre><script>alert(1)</script>"


def test_nothing_is_loaded_from_outside(make_summary: MakeSummary) -> None:
    page = Page(render_page(make_summary(), NETWORK, PNG))
    page.check_loads_nothing()
    assert page.sources == ["data:image/png;base64," + base64.b64encode(PNG).decode()]


@pytest.mark.parametrize(
    ("measured_ms", "verdict", "other"), [(9.8, "met", "missed"), (10.2, "missed", "met")]
)
def test_the_verdict_is_shown(
    make_summary: MakeSummary, measured_ms: float, verdict: str, other: str
) -> None:
    page = Page(render_page(make_summary(measured_ms=measured_ms), NETWORK, PNG))
    assert ("class", verdict) in page.attributes
    assert verdict in page.texts
    assert other not in page.texts


def test_names_are_escaped(make_summary: MakeSummary) -> None:
    summary = make_summary() | {"name": "<b>run</b>", "command": "python 'a' <script>"}
    page = Page(render_page(summary, NETWORK, PNG))
    assert "b" not in page.tags
    assert "script" not in page.tags
    text = " ".join(page.texts)
    assert "<b>run</b>" in text
    assert "python 'a' <script>" in text
    assert "Latency of best.onnx on a <fast> CPU" in text
    assert "</pre><script>alert(1)</script>" in text


def test_every_figure_is_there_with_its_unit(make_summary: MakeSummary) -> None:
    texts = Page(render_page(make_summary(), NETWORK, PNG)).texts
    for text in (
        "10.000 ms", "9.500 ms", "9.800 ms", "9.600 ms", "6.00 to 10.00 ms",
        "92.00 %", "95.50 %", "94.30 %",
        "20 networks of 6.4e+01 in the space small.",
        "python -m nas.search target_latency=10ms",
    ):  # fmt: skip
        assert text in texts


def test_a_summary_that_lacks_something_makes_no_page(make_summary: MakeSummary) -> None:
    summary = make_summary()
    del summary["accuracy"]["test"]
    with pytest.raises(jinja2.UndefinedError, match="test"):
        render_page(summary, NETWORK, PNG)
