"""Axes, ticks and elements: what is drawn where."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.svg import Axis, Frame, Key, Mark, Shape, drawing, element, number


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.0, 10.0, [0, 2, 4, 6, 8, 10]),
        (93.1, 97.4, [94, 95, 96, 97]),
        (0.0021, 0.0034, [0.0025, 0.003]),
        (-6.0, 6.0, [-6, -4, -2, 0, 2, 4, 6]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    axis = Axis(low=low, high=high, start=0, end=100)
    assert axis.ticks(6) == pytest.approx(ticks)


def test_ticks_of_ratios() -> None:
    axis = Axis(low=1.9, high=17.0, start=0, end=100, is_log=True)
    assert axis.ticks(8) == pytest.approx([2, 3, 4, 5, 6, 8, 10, 15])
    assert axis.ticks(6) == pytest.approx([2, 3, 4, 6, 8, 10])
    assert axis.ticks(3) == pytest.approx([2, 5, 10])
    # Equal ratios are equally far apart.
    assert axis(4.0) - axis(2.0) == pytest.approx(axis(16.0) - axis(8.0))
    assert (axis(1.9), axis(17.0)) == pytest.approx((0, 100))


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.booleans(), st.integers(2, 10))
def test_all_values_and_ticks_are_within_the_axis(
    values: list[float], is_log: bool, most: int
) -> None:
    axis = Axis.around(values, start=50.0, end=600.0, is_log=is_log)
    for value in [*values, *axis.ticks(most)]:
        assert 49.9 <= axis(value) <= 600.1
    assert len(axis.ticks(most)) <= most + 1


def test_the_y_axis_points_up() -> None:
    frame = Frame.around([1.0, 2.0], [10.0, 20.0])
    assert frame.y(20.0) < frame.y(10.0)
    assert frame.x(1.0) < frame.x(2.0)


def test_texts_and_attributes_are_escaped() -> None:
    made = element("text", text="<b>&", class_='a" onload="x', text_anchor="end", x=1.23456)
    svg = drawing(20, 10, [made], label='a "label" <b>')
    root = ET.fromstring(svg)
    assert (root.get("aria-label"), root.get("viewBox")) == ('a "label" <b>', "0 0 20 10")
    assert root[0].text == "<b>&"
    assert root[0].attrib == {"class": 'a" onload="x', "text-anchor": "end", "x": "1.23"}
    assert "<b>" not in svg


def test_a_drawing_without_a_label_is_hidden_from_who_listens() -> None:
    root = ET.fromstring(drawing(20, 10, [], label=None))
    assert (root.get("aria-hidden"), root.get("role")) == ("true", None)


@pytest.mark.parametrize("shape", Shape)
def test_marks_of_all_shapes_say_what_they_stand_for(shape: Shape) -> None:
    made = Mark(class_="trial", shape=shape).at(10, 20, row=3, title="trial 3")
    assert made.get("data-row") == "3"
    assert made[0].tag == "title"
    assert made[0].text == "trial 3"
    key = Key.of_mark(Mark(class_="trial", shape=shape), "trials")
    assert "data-row" not in key.sample


@pytest.mark.parametrize(
    ("value", "text"), [(-2.0, "−2"), (0.0025, "0.0025"), (1e7, "1e+07"), (0.1 + 0.2, "0.3")]
)
def test_numbers_of_ticks(value: float, text: str) -> None:
    assert number(value) == text
