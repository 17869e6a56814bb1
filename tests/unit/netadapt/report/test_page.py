"""The page: self-contained, escaped, and with no number but those of the summary and the layers."""

import base64
from dataclasses import replace
from typing import Any

import jinja2
import pytest

from netadapt.report.layers import LayerChange
from netadapt.report.page import render_page
from tests.pages import Page

TRAJECTORY, WIDTHS = b"\x89PNG a trajectory", b"\x89PNG widths"
NETWORK = "blocks:\n  - {type: conv_norm_act}\n# </pre><script>alert(1)</script>"


def page_of(summary: dict[str, Any], layers: list[LayerChange], network: str = NETWORK) -> Page:
    return Page(render_page(summary, layers, network, trajectory_png=TRAJECTORY, widths_png=WIDTHS))


@pytest.fixture
def page(summary: dict[str, Any], layers: list[LayerChange]) -> Page:
    return page_of(summary, layers)


def rows_of(page: Page, table: int) -> list[list[str]]:
    return [[" ".join(cell.split()) for cell in row] for row in page.tables[table]]


def test_nothing_is_loaded_from_outside(page: Page) -> None:
    page.check_loads_nothing()
    assert page.sources == [
        "data:image/png;base64," + base64.b64encode(png).decode() for png in (TRAJECTORY, WIDTHS)
    ]


def test_names_are_escaped(page: Page) -> None:
    assert not {"b", "script"} & set(page.tags)
    text = " ".join(page.texts)
    for name in (
        "<b>shaved</b>",
        "Latency on a <fast> CPU",
        "blocks.3: left out <b>",
        "</pre><script>alert(1)</script>",
        "python -m netadapt.run 'seed=<b>'",
    ):
        assert name in text


def test_the_verdict_comes_first(
    page: Page, summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    text = " ".join(page.texts)
    assert text.index("Target 14.4 ms, measured 14.7 ms:") < text.index("Latency on")
    assert ("class", "missed") in page.attributes
    assert "which takes 21.000 ms, best.onnx takes 30.0 % less (±0.7 %), after 3 steps." in text
    slower = summary | {"latency": summary["latency"] | {"share_of_seed": 1.011}, "verdict": "met"}
    other = page_of(slower, layers)
    assert ("class", "met") in other.attributes
    assert "1.1 % more" in " ".join(other.texts)


def test_latencies_are_those_of_the_summary(page: Page) -> None:
    header, *rows = rows_of(page, 0)
    assert header == ["", "seed", "best.onnx", "change"]
    assert rows[:4] == [
        ["target", "", "14.400 ms", "-31.4 %"],
        [
            "measured end to end in turns, medians of 96 runs",
            "21.000 ms",
            "14.700 ms",
            "-30.0 %",
        ],
        [
            "undisturbed, which is what the table counts",
            "",
            "14.200 ms ±1.2 %",
            "",
        ],
        ["predicted from the table and the seed", "", "14.000 ms", "-33.3 %"],
    ]
    assert [row[0] for row in rows[4:]] == ["MAdds", "parameters"]


def test_accuracies_have_their_images_and_intervals(page: Page) -> None:
    _, proposals, validation, test = rows_of(page, 1)
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
    assert rows_of(page, 2)[1:] == [
        ["0", "the seed", "10.500", "10.500", "", "93.75 %", "", ""],
        [
            "1", "blocks.3: left out", "9.000", "9.900 ±0.4 %", "+10.0 %", "87.50 %",
            "3", "0",
        ],
        [
            "2", "blocks.3: left out <b>", "8.000", "7.600 ±0.4 %", "-5.0 %", "75.00 %",
            "3", "2",
        ],
        [
            "3", "blocks.4.hidden_channels: 128 → 64", "7.000", "7.140 ±0.4 %",
            "+2.0 %", "81.25 %", "3", "1",
        ],
    ]  # fmt: skip
    text = " ".join(page.texts)
    assert "All steps saved 3.000 ms by the table and 3.150 ms by the clock." in text
    assert "on which the seed takes 10.500 ms" in text


def test_layers_stand_before_and_after(page: Page) -> None:
    rows = rows_of(page, 3)[1:]
    assert rows[0] == ["0", "conv_norm_act", "16×16", "", "16", "", "", "3", ""]
    assert rows[2] == ["2", "inverted_residual", "8×8", "72 → 48", "40", "", "", "3", ""]
    assert rows[3] == ["3 → left out", "inverted_residual", "8×8", "80", "40", "", "", "3", ""]
    assert rows[5] == [
        "5 → 3", "inverted_residual", "8×8", "96", "40", "24 → none", "hard_sigmoid → none",
        "5 → 3", "",
    ]  # fmt: skip
    assert rows[6][3:5] == ["128 → 64", "10"]
    # What is not changed is quiet, and what a block that was left out had is struck out.
    assert page.attributes.count(("class", "quiet")) == 2
    assert page.tags.count("del") == 2 * 3


def test_predictions_are_shown_where_there_are_some(
    summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    known = [
        replace(layers[0], predicted_before_ms=0.5, predicted_after_ms=0.25),
        replace(layers[1], predicted_before_ms=0.5, predicted_after_ms=None),
        replace(layers[2], predicted_before_ms=None, predicted_after_ms=0.5),
        replace(layers[3], predicted_before_ms=0.125),
    ]
    cells = [row[-1] for row in rows_of(page_of(summary, known), 3)[1:]]
    assert cells == ["0.500 → 0.250", "", "", "0.125"]


def test_device_and_runtime_are_there(page: Page) -> None:
    cells = dict(map(tuple, rows_of(page, 4)))
    assert cells["cpu"] == "a <fast> CPU"
    assert cells["runtime"] == "onnxruntime 1.22.0, CPUExecutionProvider"
    assert cells["precision, threads, batch"] == "fp32, 2, 1"
    assert "governor" not in cells
    assert "onnxruntime" in dict(map(tuple, rows_of(page, 5)))


def test_a_summary_that_lacks_something_makes_no_page(
    summary: dict[str, Any], layers: list[LayerChange]
) -> None:
    del summary["accuracy"]["test"]
    with pytest.raises(jinja2.UndefinedError, match="test"):
        page_of(summary, layers)
