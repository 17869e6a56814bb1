"""The page: self-contained, escaped, and with no number but those of the summary and the layers."""

from dataclasses import replace
from typing import Any

import jinja2
import pytest

from netadapt.report.layers import LayerChange
from netadapt.report.page import render_page
from tests.pages import Page

NETWORK = "blocks:\n  - {type: conv_norm_act}\n# </pre><script>alert(1)</script>"


def page_of(summary: dict[str, Any], layers: list[LayerChange], network: str = NETWORK) -> Page:
    return Page(render_page(summary, layers, network))


@pytest.fixture
def page(summary: dict[str, Any], layers: list[LayerChange]) -> Page:
    return page_of(summary, layers)


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    page.check_loads_nothing()


def test_names_are_escaped(page: Page) -> None:
    assert "b" not in page.tags
    assert page.tags.count("script") == 2  # the data of the steps, and the page's own
    for name in (
        "<b>shaved</b>",
        "Latency on a <fast> CPU",
        "blocks.3: left out <b>",
        "</pre><script>alert(1)</script>",
        "python -m netadapt.run 'seed=<b>'",
    ):
        assert name in page.text


def test_the_verdict_comes_first(
    page: Page, summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    text = page.text
    assert text.index("Target 14.4 ms, measured 14.7 ms on a") < text.index("Latency on")
    assert ("class", "badge missed") in page.attributes
    assert "which takes 21.000 ms, best.onnx takes 30.0 % less (±0.7 %), after 3 steps." in text
    slower = summary | {"latency": summary["latency"] | {"share_of_seed": 1.011}, "verdict": "met"}
    other = page_of(slower, layers)
    assert ("class", "badge met") in other.attributes
    assert "1.1 % more" in other.text


def test_latencies_are_those_of_the_summary(page: Page) -> None:
    header, *rows = page.table_with("change")
    assert header == ["", "seed", "best.onnx", "change"]
    assert rows[:4] == [
        ["target", "", "14.400 ms", "−31.4 %"],
        [
            "measured end to end in turns, medians of 96 runs",
            "21.000 ms",
            "14.700 ms",
            "−30.0 %",
        ],
        [
            "undisturbed, which is what the table counts",
            "",
            "14.200 ms ±1.2 %",
            "",
        ],
        ["predicted from the table and the seed", "", "14.000 ms", "−33.3 %"],
    ]
    assert [row[0] for row in rows[4:]] == ["MAdds", "parameters"]


def test_accuracies_have_their_images_and_intervals(page: Page) -> None:
    _, proposals, validation, test = page.table_with("images")
    # Wilson's intervals of 15 and of 13 of 16, by hand.
    assert proposals == [
        "kept for proposals, at 24×24",
        "16",
        "93.75 % (71.7 to 98.9)",
        "81.25 % (57.0 to 93.4)",
    ]
    assert validation[1:] == ["148", "–", "10.14 % (6.2 to 16.0)"]
    assert test == ["test, looked at 1 time, at 32×32", "263", "–", "30.80 % (25.5 to 36.6)"]


def test_every_step_is_listed(page: Page) -> None:
    assert page.table_with("drift")[1:] == [
        ["0", "the seed", "10.500", "10.500", "", "93.75 %", "", ""],
        [
            "1", "blocks.3: left out", "9.000", "9.900 ±0.4 %", "+10.0 %", "87.50 %",
            "3", "0",
        ],
        [
            "2", "blocks.3: left out <b>", "8.000", "7.600 ±0.4 %", "−5.0 %", "75.00 %",
            "3", "2",
        ],
        [
            "3", "blocks.4.hidden_channels: 128 → 64", "7.000", "7.140 ±0.4 %",
            "+2.0 %", "81.25 %", "3", "1",
        ],
    ]  # fmt: skip
    text = page.text
    assert "All steps saved 3.000 ms by the table and 3.150 ms by the clock." in text
    assert "on which the seed takes 10.500 ms" in text


def test_layers_stand_before_and_after(page: Page) -> None:
    rows = page.table_with("squeeze")[1:]
    assert rows[0] == ["0", "", "convolution", "", "", "", "16", "", "", "3", "16×16"]
    assert rows[2][2:] == ["inverted residual", "", "", "72 → 48", "40", "", "", "3", "8×8"]
    assert rows[3][0] == "3 → left out"
    assert rows[3][5:7] == ["80", "40"]
    assert rows[5] == [
        "5 → 3", "", "inverted residual", "", "", "96", "40", "24 → none", "hard_sigmoid → none",
        "5 → 3", "8×8",
    ]  # fmt: skip
    assert rows[6][5:7] == ["128 → 64", "10"]
    # What is not changed is quiet, and what a block that was left out had is struck out.
    assert page.attributes.count(("class", "same")) == 2
    assert page.tags.count("del") == 2 * 3


def _timed(layer: LayerChange, before_ms: float | None, after_ms: float | None) -> LayerChange:
    after = layer.row_after and replace(layer.row_after, latency_ms=after_ms)
    return LayerChange(row=replace(layer.row, latency_ms=before_ms), row_after=after)


def test_predictions_are_shown_where_there_are_some(
    summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    known = [
        _timed(layers[0], 0.5, 0.25),
        _timed(layers[1], 0.5, None),
        _timed(layers[2], None, 0.5),
        _timed(layers[3], 0.125, None),
    ]
    cells = [row[3] for row in page_of(summary, known).table_with("squeeze")[1:]]
    assert cells == ["0.500 → 0.250", "", "", "0.125"]


def test_device_and_runtime_are_there(page: Page) -> None:
    cells = dict(map(tuple, page.table_with("processor")))
    assert cells["cpu"] == "a <fast> CPU"
    assert cells["runtime"] == "onnxruntime 1.22.0 CPUExecutionProvider"
    assert (cells["precision"], cells["threads"], cells["batch"]) == ("fp32", "2", "1")
    assert "governor" not in cells
    assert "optuna" in cells


def test_each_mark_has_its_step(page: Page) -> None:
    rows = page.data("steps-data")
    assert [row[0] for row in rows] == ["the seed", "step 1", "step 2", "step 3"]
    assert [" ".join(cell.split()) for cell in rows[2][1:]] == [
        "blocks.3: left out <b>", "75.00 %", "7.600 ms", "8.000 ms", "−5.0 %",
        "3, 2 of them infeasible",
    ]  # fmt: skip


def test_a_summary_that_lacks_something_makes_no_page(
    summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    del summary["accuracy"]["test"]
    with pytest.raises(jinja2.UndefinedError, match="test"):
        page_of(summary, layers)
