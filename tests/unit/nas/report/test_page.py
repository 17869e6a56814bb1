"""The report page: self-contained, escaped, and with its verdict at the top."""

import base64
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import jinja2
import pytest

from nas.report.page import render_page

MakeSummary = Callable[..., dict[str, Any]]

PNG = b"\x89PNG\r\n\x1a\n not a picture"
NETWORK = "blocks:\n  - {type: conv_norm_act}\n# </pre><script>alert(1)</script>"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """What a browser would make of the page: tags, attributes, texts."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.unclosed: list[str] = []
        self.texts: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.unclosed.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))


def test_nothing_is_loaded_from_outside(make_summary: MakeSummary) -> None:
    content = render_page(make_summary(), NETWORK, PNG)
    page = Page(content)
    assert page.unclosed == []
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert [name for name, _ in page.attributes if name in ("href", "srcset", "action")] == []
    assert [value for name, value in page.attributes if name == "src"] == [
        "data:image/png;base64," + base64.b64encode(PNG).decode()
    ]
    for outside in (b"http:", b"https:", b"url(", b"@import"):
        assert outside not in content


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
