"""What the figure of all trials shows: roles, the front's line, what is left out."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from nas.report import front as fronts
from nas.report.contents import SearchReport
from nas.report.drawings import draw_front, draw_history, lower_end
from nas.report.front import Front, Role, build_front
from nas.report.history import HistoryPoint, search_history
from nas.report.seeds import SeedNetwork
from nas.report.trials import trial_table
from nas.reward import PowerReward
from nas.study import Candidate
from tests.pages import Page

MakeReport = Callable[..., SearchReport]


SEEDS = "mobilenet_v3_large", "mobilenet_v3_small"


def candidate(number: int, latency_ms: float, accuracy: float) -> Candidate:
    return Candidate(
        number=number, choices={"stage1.kernel": 3}, reward=0.0, accuracy=accuracy,
        latency_ms=latency_ms, madds=1, params=1, peak_activation_bytes=1, network=str(number),
    )  # fmt: skip


FOUND = [
    candidate(3, 12.0, 0.7),
    candidate(0, 20.0, 0.8),
    candidate(1, 10.0, 0.5),
    candidate(2, 14.0, 0.6),
    candidate(5, 30.0, 0.9),
]


def front_of(
    found: list[Candidate] = FOUND, seeds: tuple[SeedNetwork, ...] = (), winner: int = 3
) -> Front:
    rewards = [each.accuracy for each in found]
    table = trial_table(found)
    return build_front(found, table, rewards, seeds, winner=winner, base=0, target_ms=15.0)


def seed(label: str, latency_ms: float) -> SeedNetwork:
    return SeedNetwork(label=label, resolution=224, latency_ms=latency_ms, madds=1, params=1)


def test_each_trial_has_its_role() -> None:
    front = front_of()
    assert [(each.candidate.number, each.role) for each in front.points] == [
        (0, Role.BASE), (1, Role.FRONT), (2, Role.TRIAL), (3, Role.WINNER), (5, Role.FRONT),
    ]  # fmt: skip
    assert front.winner == 3
    assert [each.candidate.number for each in front.line] == [1, 3, 0, 5]
    assert [each.label for each in front.points][:3] == [
        "trial 0, base network",
        "trial 1, on the Pareto front",
        "trial 2",
    ]


def test_of_many_trials_those_that_matter_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "MOST_POINTS", 50)
    hidden = [candidate(number, 40.0 + number, 0.1) for number in range(10, 1010)]
    front = front_of([*FOUND, *hidden])
    assert len(front.points) == 50
    assert front.left_out == 955
    kept = [each.candidate.number for each in front.points]
    assert {0, 1, 3, 5} <= set(kept)
    assert kept == sorted(kept)
    # What is left out is left out evenly.
    others = [number for number in kept if number >= 10]
    assert max(b - a for a, b in pairwise(others)) <= 25


def test_the_front_is_drawn_in_steps_with_seeds_above() -> None:
    near = [*map(seed, SEEDS, (14.0, 14.5)), seed("far", 99.0)]
    drawn = draw_front(front_of(seeds=tuple(near)), label="all trials")
    page = Page(drawn.svg.encode())
    assert set(SEEDS) <= set(page.texts)
    assert "far" not in page.texts  # it would press the trials together
    assert "mobilenet_v3_large: 14.00\N{NO-BREAK SPACE}ms by the table" in drawn.svg
    # Their names do not cover each other.
    names = [each for each in ET.fromstring(drawn.svg).iter("text") if each.text in SEEDS]
    assert len({each.get("y") for each in names}) == len(SEEDS)
    assert [key.text for key in drawn.legend] == [
        "trials", "on the Pareto front", "base network", "winner", "target, 15 ms",
        "published networks, by the table; accuracy unknown",
    ]  # fmt: skip
    assert drawn.svg.count('class="mark') == 5
    (steps,) = (line for line in drawn.svg.split("<path") if 'class="front"' in line)
    assert steps.count("L") == 2 * 3 + 1


def test_a_network_far_below_does_not_press_the_others_together() -> None:
    good = [candidate(number, 10.0 + number, 0.9 + 0.001 * number) for number in range(20)]
    assert lower_end([100 * each.accuracy for each in good]) == pytest.approx(90.0)
    drawn = draw_front(front_of([*good, candidate(20, 15.0, 0.1)]), label="all trials")
    assert "below the figure" in [key.text for key in drawn.legend]
    assert "trial 20: 10.00\N{NO-BREAK SPACE}%" in drawn.svg
    assert "below the figure" not in [
        key.text for key in draw_front(front_of(good), label="").legend
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_few_trials_can_be_drawn(count: int) -> None:
    found = [candidate(number, 10.0, 0.5) for number in range(count)]
    front = front_of(found, winner=0)
    assert draw_front(front, label="").svg.count('class="mark') == count
    history = search_history(found, PowerReward(), 15.0)
    rows = {number: number for number in range(count)}
    assert draw_history(history, rows=rows, label="").svg.count('class="mark') == count


def test_the_history_is_for_the_target_of_the_page() -> None:
    points = search_history(FOUND, PowerReward(alpha=0.0, beta=-1.0), 15.0)
    # By hand: a network that takes twice the target is worth half of its accuracy.
    assert [(each.number, each.best, each.is_best) for each in points] == [
        (0, pytest.approx(0.6), True),
        (1, pytest.approx(0.6), False),
        (2, pytest.approx(0.6), False),
        (3, pytest.approx(0.7), True),
        (5, pytest.approx(0.7), False),
    ]
    assert points[-1].reward == pytest.approx(0.45)
    assert isinstance(points[0], HistoryPoint)


def test_a_trial_that_is_not_drawn_is_not_in_the_history_either() -> None:
    points = search_history(FOUND, PowerReward(), 15.0)
    drawn = draw_history(points, rows={0: 0, 3: 1}, label="")
    assert drawn.svg.count('class="mark') == 2
    assert 'data-row="1"' in drawn.svg


def test_the_report_has_all_of_it(make_report: MakeReport) -> None:
    report = make_report()
    assert len(report.front.points) == len(report.history) == 20
    assert report.front.points[0].role is Role.BASE
    assert report.front.winner == 7
    assert [each.reward for each in report.front.points] == [each.reward for each in report.history]
    assert [(each.name, each.is_finalist) for each in report.networks] == [("trial 7", True)]
    assert report.networks[0].error == pytest.approx(9.5 / 9.0 - 1)
    assert report.targets == ()
    best = replace(report.front.points[7].candidate)
    assert [row.layer.kernel for row in report.blocks][1:3] == [
        best.choices["first.kernel"],
        best.choices["second.kernel"],
    ]
