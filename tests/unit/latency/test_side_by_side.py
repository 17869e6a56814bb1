"""Two networks in turns: what slows down both does not count."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency.plan import MeasureSettings, graph_entry
from latency.side_by_side import SideBySide, measure_side_by_side
from latency.table import TableError
from search_spaces.blocks import ConvNormAct
from search_spaces.lowering import lower_block
from search_spaces.shapes import TensorShape

SETTINGS = MeasureSettings(min_rounds=3, max_rounds=3)


BLOCK = lower_block(ConvNormAct(out_channels=8, kernel=3), TensorShape(3, 8, 8))
FIRST, SECOND = graph_entry("first", [BLOCK]), graph_entry("second", [BLOCK])

Measure = Callable[[list[dict[str, Any]]], SideBySide]


@pytest.fixture
def device(make_device: Callable[..., Any]) -> Any:
    return make_device()


@pytest.fixture
def measure(tmp_path: Path, device: Any) -> Measure:
    """What comes of these visits, which are in the file already."""
    path = tmp_path / "clock.jsonl"
    measure_side_by_side(device, path, FIRST, SECOND, SETTINGS)
    header = path.read_text().splitlines()[0]

    def of(visits: list[dict[str, Any]]) -> SideBySide:
        path.write_text("\n".join([header, *map(json.dumps, visits)]) + "\n")
        return measure_side_by_side(device, path, FIRST, SECOND, SETTINGS)

    return of


def test_the_ratio_is_that_of_visits_which_ran_in_turns(
    measure: Measure, device: Any, make_visit: Callable[..., Any]
) -> None:
    # The machine becomes five times slower; the first takes 79, 80, 82 % of the second.
    visits = [
        make_visit(key, ms, at_s, median_ms=ms)
        for at_s, slowness, ratio in ((0.0, 1.0, 0.79), (1.0, 5.0, 0.80), (2.0, 2.0, 0.82))
        for key, ms in (("first", ratio * slowness), ("second", slowness))
    ]
    found = measure(visits)
    assert device.asked[1:] == [set()]
    assert found.ratio == pytest.approx((0.79 * 0.80 * 0.82) ** (1 / 3))
    assert 0.01 < found.interval < 0.03
    assert (found.first.key, found.second.key) == ("first", "second")
    assert found.second.median_ms == 2.0

    apart = [{**visit, "at_s": float(number)} for number, visit in enumerate(visits)]
    with pytest.raises(TableError, match=r"clock\.jsonl holds no sitting of both networks"):
        measure(apart)


def test_sittings_where_either_was_made_first_count_alike(
    measure: Measure, make_visit: Callable[..., Any]
) -> None:
    # What is made first is 4 % slower: 0.8 is 0.832 in most of the sittings and 0.769 in the rest.
    visits = [
        make_visit(key, ms, float(at_s), median_ms=ms)
        for at_s in range(7)
        for key, ms in (
            (("first", 1.04 * 0.8), ("second", 1.0))
            if at_s < 5
            else (("second", 1.04), ("first", 0.8))
        )
    ]
    found = measure(visits)
    assert found.ratio == pytest.approx(0.8)
    assert found.interval == pytest.approx(0.0)


def test_what_was_timed_by_itself_does_not_count(
    measure: Measure, make_visit: Callable[..., Any]
) -> None:
    """One that varies is visited more often, alone and with warm weights."""
    visits = [
        make_visit(key, ms, float(at_s), median_ms=ms)
        for at_s in range(3)
        for key, ms in (("first", 0.8), ("second", 1.0))
    ]
    alone = [make_visit("second", 0.5, 10.0 + at_s, median_ms=0.5) for at_s in range(5)]
    found = measure(visits + alone)
    assert found.second.median_ms == found.second.latency_ms == 1.0
    assert (found.second.rounds, found.ratio) == (3, pytest.approx(0.8))
