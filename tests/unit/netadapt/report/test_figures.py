"""The figures: pictures that open, and what is drawn in them."""

import io
from typing import Any

import matplotlib.image
import pytest
from matplotlib.figure import Figure

from latency.figures import png
from netadapt.report import figures
from netadapt.report.figures import draw_trajectory, draw_widths
from netadapt.report.layers import LayerChange


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is made a picture of."""
    made: list[Figure] = []

    def noted(figure: Figure) -> bytes:
        made.append(figure)
        return png(figure)

    monkeypatch.setattr(figures, "png", noted)
    return made


def size_of(picture: bytes) -> tuple[int, ...]:
    pixels = matplotlib.image.imread(io.BytesIO(picture), format="png")
    return tuple(pixels.shape[:2])


def test_the_trajectory_goes_through_every_step(
    summary: dict[str, Any], drawn: list[Figure]
) -> None:
    # 7.5 × 7.4 inches at 150 dots an inch.
    assert size_of(draw_trajectory(summary)) == (1110, 1125)
    accuracy, latency = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracy.get_lines()}
    steps = [[10.5, 93.75], [9.9, 87.5], [7.6, 75.0], [7.14, 81.25]]
    assert (lines["steps"], lines["seed"]) == (steps, steps[:1])
    ends = [x for x, _ in lines["target"] + lines["best.onnx"]]
    assert ends == pytest.approx([7.2, 7.2, 7.35, 7.35])
    assert [text.get_text() for text in accuracy.texts] == ["1", "2", "3"]
    assert [text.xy for text in accuracy.texts] == [tuple(step) for step in steps[1:]]
    low, high = accuracy.get_ylim()
    assert low < 75.0 < 93.75 < high
    lines = {line.get_label(): line.get_xydata().tolist() for line in latency.get_lines()}
    assert lines["measured"] == [[0, 10.5], [1, 9.9], [2, 7.6], [3, 7.14]]
    assert lines["predicted"] == [[0, 10.5], [1, 9.0], [2, 8.0], [3, 7.0]]
    assert lines["best.onnx"] == [pytest.approx([3, 7.35])]


def test_of_many_steps_some_and_the_last_are_numbered(
    summary: dict[str, Any], drawn: list[Figure]
) -> None:
    for steps in ([], 20 * summary["steps"], 25 * summary["steps"][:1]):
        draw_trajectory(summary | {"steps": steps})
    none, sixty, all_of_them = (
        [int(text.get_text()) for text in figure.axes[0].texts] for figure in drawn
    )
    assert none == []
    assert sixty == list(range(3, 61, 3))
    assert all_of_them == list(range(1, 26))


def test_bars_show_what_is_left_of_each_width(
    layers: list[LayerChange], drawn: list[Figure]
) -> None:
    height, width = size_of(draw_widths(layers))
    assert (height, width) == (pytest.approx(150 * (1.1 + 0.25 * 7), abs=1), 1125)
    inside, out = drawn[0].axes
    assert [text.get_text() for text in inside.texts] == [
        "72 → 48", "80 → 0", "88 → 0", "96", "128 → 64",
    ]  # fmt: skip
    assert [text.get_text() for text in out.texts] == [
        "16", "24", "40", "40 → 0", "40 → 0", "40", "10",
    ]  # fmt: skip
    # A bar of what there was, and in front of it one of what is left, in %.
    bars = [(bar.get_width(), round(bar.get_center()[1])) for bar in inside.patches]
    assert [width for width, _ in bars[::2]] == [100] * 5
    assert [width for width, _ in bars[1::2]] == [pytest.approx(100 * 2 / 3), 0, 0, 100, 50]
    assert [row for _, row in bars[::2]] == [2, 3, 4, 5, 6]
    labels = [label.get_text() for label in inside.get_yticklabels()]
    assert labels[2:4] == ["inverted_residual 2", "inverted_residual 3"]
