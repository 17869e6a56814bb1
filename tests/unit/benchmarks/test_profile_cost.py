from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import profile_cost
from benchmarks.profile_cost import (
    Figures,
    choose,
    columns_of,
    figures_of,
    main,
    measure,
    report_lines,
)
from latency.context import After
from latency.devices.base import DeviceError
from latency.plan import MeasureSettings, boundary_entry, no_progress, write_plan
from latency.profile import REFERENCE, Plan, ProfileError, visit_lines
from latency.table import read_visits
from search_spaces.shapes import TensorShape

FIGURES = Figures(
    entries=5,
    visits=15,
    seconds=300.0,
    share_in_runs=0.9,
    quarters_s=(0.05, 0.05, 0.05, 0.06),
    reference_drift=1.1,
)


def _visit(key: str, at_s: float, reference_ms: float = 2.0) -> dict[str, Any]:
    return {"key": key, "at_s": at_s, "reference_ms": reference_ms}


def test_quarters_are_of_the_first_round() -> None:
    # Visits of the four quarters take 1, 2, 3 and 4 seconds, those of the second round 100.
    times = [10.0]
    for seconds in (1, 1, 2, 2, 3, 3, 4, 4):
        times.append(times[-1] + seconds)
    first = [_visit(f"{index}", at_s, at_s) for index, at_s in enumerate(times)]
    second = [_visit(f"{index}", times[-1] + 100 * (1 + index)) for index in range(9)]
    figures = figures_of(first + second, seconds=1000.0, seconds_in_runs=850.0)
    assert figures.quarters_s == (1, 2, 3, 4)
    assert figures.last_over_first == 4
    assert (figures.entries, figures.visits, figures.share_in_runs) == (9, 18, 0.85)
    assert figures.reference_drift == (26 + 30) / (11 + 12)


class _Bench:
    """Says that all its visits took a nanosecond of runs, and a second of the clock."""

    def __init__(self, broken: bool) -> None:
        self.seconds_in_runs = 0.0
        self._broken = broken
        self._now = 1000.0

    def describe(self) -> dict[str, Any]:
        return {"device": "a", "runtime": "b", "runtime_version": "1", "provider": "c"}

    def warm_up(self) -> None:
        if self._broken:
            raise ProfileError("cannot run 'reference'")

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        self.seconds_in_runs += 1e-9 * len(entries)
        turns = [REFERENCE, *range(len(entries))] * 3
        lines = []
        for line in visit_lines(entries, turns, [1e-3] * len(turns)):
            self._now += 1.0
            lines.append(line | {"at_s": self._now})
        return lines


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.zip"
    shapes = [TensorShape(channels, 8, 8) for channels in range(4, 10)]
    builders = [partial(boundary_entry, shape, After.CONV) for shape in shapes]
    write_plan(path, builders, MeasureSettings(min_rounds=2, max_rounds=2), no_progress)
    return path


def _make(broken: bool) -> Callable[[Plan, Path], _Bench]:
    return lambda plan, folder: _Bench(broken)


def test_the_share_is_of_what_the_bench_says_was_inside_runs(plan: Path, tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    figures = measure(
        plan, tmp_path / "table", lambda *state: progress.append(state), _make(broken=False)
    )
    assert (figures.entries, figures.visits) == (6, 12)
    assert figures.share_in_runs == pytest.approx(12e-9 / figures.seconds)
    assert figures.quarters_s == (1, 1, 1, 1)
    assert (progress[0], progress[-1]) == ((0, 12), (12, 12))


def test_a_graph_that_does_not_run_is_a_failure_of_the_device(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot run 'reference'"):
        measure(plan, tmp_path / "table", no_progress, _make(broken=True))


def test_the_command_keeps_the_table_and_refuses_it_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(profile_cost, "OrtBench", _make(broken=False))
    table = tmp_path / "kept.jsonl"
    arguments = ["--entries", "6", "--min-rounds", "2", "--max-rounds", "2", "--table", str(table)]
    assert main(arguments) == 0
    assert "visits             12 of 6 entries" in capsys.readouterr().out
    header, visits = read_visits(table)
    assert (header["affinity"], len(visits)) == ([0], 12)
    assert main(arguments) == 2


@pytest.mark.parametrize(
    ("seconds", "share", "verdict"),
    [(360.0, 0.85, "met"), (361.0, 0.85, "missed"), (360.0, 0.84, "missed")],
)
def test_the_aim_is_of_seconds_and_share(seconds: float, share: float, verdict: str) -> None:
    figures = Figures(
        entries=5,
        visits=15,
        seconds=seconds,
        share_in_runs=share,
        quarters_s=FIGURES.quarters_s,
        reference_drift=1.0,
    )
    assert report_lines(figures, whole=True)[-1].endswith(f"inside runs: {verdict}")


def test_a_part_of_a_space_is_not_held_to_the_aim() -> None:
    assert not any(line.startswith("aim") for line in report_lines(FIGURES, whole=False))


def test_a_row_has_a_column_a_quarter() -> None:
    assert columns_of(FIGURES) == {
        "entries": "5",
        "visits": "15",
        "seconds": "300",
        "share_in_runs": "0.9",
        "quarter1_s": "0.05",
        "quarter2_s": "0.05",
        "quarter3_s": "0.05",
        "quarter4_s": "0.06",
        "reference_drift": "1.1",
    }


def test_a_part_is_drawn_without_repetition() -> None:
    builders = [
        partial(boundary_entry, TensorShape(channels, 8, 8), After.CONV)
        for channels in range(4, 40)
    ]
    drawn = choose(builders, 9)
    assert len({id(builder) for builder in drawn}) == 9
    assert choose(builders, None) is builders


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--entries", "4"], "--entries must be in 5.."),
        (["--entries", "1000000"], "but got 1000000"),
        (["--table", "."], "--table . is there already; name a new file"),
        (["--resolution", "0"], "resolution must be in 1..4096, but got 0"),
        (["--affinity", "x"], "--affinity must be cores like 0 or 2,3, but got 'x'"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.profile_cost: error: ")
    assert error.count("\n") == 1
    assert message in error
