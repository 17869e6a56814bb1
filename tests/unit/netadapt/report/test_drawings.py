"""The figures of a run's page: every step where it was measured, numbers that can be read."""

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from netadapt.report.drawings import draw_latencies, draw_trajectory, explore_steps, numbered


def marks(svg: str) -> list[tuple[int, float]]:
    """Each mark's step and how far right it is, in order."""
    found = []
    for each in ET.fromstring(svg).iter():
        if "mark" in each.get("class", "").split():
            place = each.get("cx") or re.findall(r"[\d.]+", each.get("d", ""))[0]
            found.append((int(each.get("data-row", -1)), float(place)))
    return found


def test_the_trajectory_goes_from_the_seed_to_the_left(summary: dict[str, Any]) -> None:
    drawn = draw_trajectory(summary)
    found = marks(drawn.svg)
    assert [step for step, _ in found] == [0, 1, 2, 3]
    right = [place for _, place in found[1:]]
    # 9.9, 7.6 and 7.14 ms, to scale.
    assert (right[0] - right[1]) / (right[1] - right[2]) == pytest.approx(
        (9.9 - 7.6) / (7.6 - 7.14), rel=0.01
    )
    labels = [each.text for each in ET.fromstring(drawn.svg).iter("text")]
    assert labels[-3:] == ["1", "2", "3"]
    assert [key.text for key in drawn.legend] == [
        "steps",
        "seed",
        "95 % interval of the seed",
        "target",
        "best.onnx",
    ]


def test_latencies_stand_step_by_step(summary: dict[str, Any]) -> None:
    found = marks(draw_latencies(summary).svg)
    assert sorted(step for step, _ in found) == [0, 0, 1, 1, 2, 2, 3, 3, 3]


def test_a_run_without_steps_can_be_drawn(summary: dict[str, Any]) -> None:
    none = summary | {"steps": []}
    assert [step for step, _ in marks(draw_trajectory(none).svg)] == [0]
    assert [step for step, _ in marks(draw_latencies(none).svg)] == [0, 0, 0]
    assert explore_steps(none).shown[0] == "the seed"


def test_of_many_steps_some_and_the_last_are_numbered() -> None:
    assert numbered(0) == []
    assert numbered(60) == list(range(3, 61, 3))
    assert numbered(61)[-2:] == [60, 61]
    assert numbered(25) == list(range(1, 26))
