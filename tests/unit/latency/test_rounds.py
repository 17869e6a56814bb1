"""Which entries are visited again, how their visits are summed up, and a run from end to end."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from latency import profile
from latency.profile import (
    Plan,
    ProfileError,
    Rounds,
    half_interval,
    lower_quartile,
    parse_table,
    pooled_spread,
    visit_line,
)

MakePlan = Callable[..., Path]
MakeVisit = Callable[..., dict[str, Any]]
GRAPH = {"graph": "graphs/0.onnx", "input_shape": [1, 4, 8, 8]}


def _entry(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, **GRAPH, **fields}


def _keys(entries: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(entry["key"] for entry in entries)


@pytest.fixture
def make_rounds(bent_plan: MakePlan) -> Callable[..., Rounds]:
    """``make_rounds([_entry("a")], records, min_rounds=2)``."""

    def make(
        entries: list[dict[str, Any]], records: Sequence[dict[str, Any]] = (), **fields: Any
    ) -> Rounds:
        with Plan(bent_plan(entries=entries, **fields)) as plan:
            return Rounds(plan, records)

    return make


def test_every_entry_is_visited_until_it_has_the_fewest_visits(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    rounds = make_rounds([_entry("a"), _entry("b")], min_rounds=2, max_rounds=5)
    for _ in range(2):
        assert _keys(rounds.due()) == ["a", "b"]
        for key in "ab":
            rounds.add(make_visit(key, 1.0))
    assert rounds.due() == []


def test_whole_networks_are_visited_twice_as_often(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    network = _entry("network", parts=["a", "b"], boundaries=["c"])
    rounds = make_rounds([_entry("a"), network], min_rounds=2, max_rounds=2)
    for keys in ("a", "network"), ("a", "network"), ("network",), ("network",):
        assert _keys(rounds.due()) == [*keys]
        for key in keys:
            rounds.add(make_visit(key, 1.0))
    assert rounds.due() == []
    assert rounds.progress() == (6, 6)


def test_only_entries_whose_visits_disagree_are_visited_up_to_the_most_rounds(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    entries = [_entry(key) for key in "abc"]
    rounds = make_rounds(entries, min_rounds=2, max_rounds=4)
    for wrong in (1.0, 1.1):
        for key, latency_ms in (("a", 1.0), ("b", 1.0), ("c", wrong)):
            rounds.add(make_visit(key, latency_ms))
    for latency_ms in (1.0, 1.1):
        assert _keys(rounds.due()) == ["c"]
        rounds.add(make_visit("c", latency_ms))
    assert rounds.due() == []


def test_an_entry_by_itself_cannot_agree_better_than_entries_usually_do(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    # Twice the same by chance, where two visits of all the others differ by ten per cent.
    latencies = {"a": (1.0, 1.0), "b": (1.0, 1.1), "c": (1.0, 1.1)}
    records = [make_visit(key, ms) for key, visits in latencies.items() for ms in visits]
    rounds = make_rounds([_entry(key) for key in "abc"], records, min_rounds=2, max_rounds=4)
    assert _keys(rounds.due()) == ["a", "b", "c"]


@pytest.mark.parametrize(("latency_ms", "due"), [(1.0, ["a"]), (0.01, [])])
def test_what_is_small_beside_the_reference_need_not_be_known_as_well(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit, latency_ms: float, due: list[str]
) -> None:
    # Visits 2 % apart: ± 2 % of 1 ms is too much, and of 10 µs is nothing beside 1 ms.
    records = [make_visit("a", latency_ms), make_visit("a", 1.02 * latency_ms)]
    rounds = make_rounds([_entry("a")], records, min_rounds=2, max_rounds=9)
    assert _keys(rounds.due()) == due


def test_visits_in_the_table_count_and_those_of_other_entries_do_not(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0), make_visit("a", 1.0), make_visit("other", 9.0)]
    rounds = make_rounds([_entry("a"), _entry("b")], records, min_rounds=2, max_rounds=2)
    assert _keys(rounds.due()) == ["b"]


def test_an_entry_is_traced_once_also_where_it_was_visited_without_a_trace(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0), make_visit("a", 2.0)]
    rounds = make_rounds([_entry("a", trace=True)], records, min_rounds=2, max_rounds=9)
    assert _keys(rounds.due()) == ["a"]
    rounds.add(make_visit("a", 1.0, ops=[["conv", "Conv", 0.5]]))
    assert rounds.due() == []


def test_a_round_is_in_random_order(make_rounds: Callable[..., Rounds]) -> None:
    rounds = make_rounds([_entry(str(number)) for number in range(50)])
    orders = [[entry["key"] for entry in rounds.due()] for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_progress_is_what_was_visited_and_what_is_known_to_be_due(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0)]
    rounds = make_rounds([_entry("a"), _entry("b")], records, min_rounds=3, max_rounds=4)
    rounds.due()
    assert rounds.progress() == (0, 5)
    rounds.add(make_visit("a", 1.1))
    rounds.add(make_visit("b", 1.0))
    assert rounds.progress() == (2, 5)
    for key in "abb":
        rounds.add(make_visit(key, 1.0))
    assert _keys(rounds.due()) == ["a", "b"]
    assert rounds.progress() == (5, 7)


def test_the_spread_of_a_visit_is_the_median_over_entries() -> None:
    # Two visits that differ by d have a standard deviation of d/√2. The median of what is found
    # for true deviations of 1 is that of a half-normal distribution, 0.674.
    pairs = [[math.exp(-x), math.exp(x)] for x in (0.01, 0.02, 0.5)]
    expected = 0.02 * math.sqrt(2) / 0.6745
    assert pooled_spread([*pairs, [1.0], []]) == pytest.approx(expected, rel=0.03)
    assert pooled_spread([[1.0], [2.0]]) == 0.0


@pytest.mark.parametrize("visits", [2, 3, 5])
def test_the_spread_is_found_from_a_few_visits_of_many_entries(visits: int) -> None:
    rng = random.Random(1)
    entries = [[math.exp(rng.gauss(0, 0.03)) for _ in range(visits)] for _ in range(4000)]
    assert pooled_spread(entries) == pytest.approx(0.03, rel=0.05)


def test_the_interval_is_that_of_a_mean_of_independent_visits() -> None:
    visits = [math.exp(-0.02), math.exp(0.02)]
    assert half_interval(visits, 0.0) == pytest.approx(1.96 * 0.02)
    assert half_interval(visits, 0.1) == pytest.approx(1.96 * 0.1 / math.sqrt(2))
    assert half_interval([1.0], 0.1) == pytest.approx(1.96 * 0.1)


def test_the_lower_quartile_is_that_of_the_runs_themselves() -> None:
    assert lower_quartile([9.0, 1.0, 3.0, 2.0, 4.0]) == 2.0
    assert lower_quartile([4.0, 1.0, 3.0, 2.0]) == 1.75
    assert lower_quartile([5.0]) == 5.0


def test_a_line_is_in_milliseconds_and_says_what_a_network_is_made_of() -> None:
    network = {"role": "calibration", "parts": ["a", "b"], "boundaries": ["c"]}
    samples, references = [0.003, 0.002, 0.009, 0.001, 0.004], [0.01, 0.02, 0.03, 0.04, 0.05]
    line = visit_line(_entry("n", alone=True, **network), samples, references)
    assert profile.check_visit(line) == ("n", line["at_s"])
    expected = {"key": "n", "runs": 5, **network}
    assert {name: line[name] for name in expected} == expected
    figures = {"latency_ms": 2.0, "median_ms": 3.0, "reference_ms": 20.0}
    assert {name: line[name] for name in figures} == pytest.approx(figures)
    assert line.keys() == {*expected, *figures, "at_s"}


class _Bench:
    """Says how long entries take, without running anything, and is stopped after some visits."""

    seconds_in_runs = 0.0

    def __init__(self, make_visit: MakeVisit, times: Iterator[int]) -> None:
        self.visited: list[str] = []
        self.warm = 0
        self.stop_after = -1
        self._make_visit = make_visit
        self._times = times

    def describe(self) -> dict[str, Any]:
        return {"device": "a", "runtime": "b", "runtime_version": "c", "provider": "d"}

    def warm_up(self) -> None:
        self.warm += 1

    def visit(self, entry: dict[str, Any]) -> dict[str, Any]:
        if len(self.visited) == self.stop_after:
            raise KeyboardInterrupt
        self.visited.append(entry["key"])
        return self._make_visit(entry["key"], 1.0, float(next(self._times)))


@pytest.fixture
def make_bench(make_visit: MakeVisit) -> Callable[[], _Bench]:
    times = count()
    return lambda: _Bench(make_visit, times)


def _keys_in(table: Path) -> list[str]:
    header, *visits = parse_table(table, table.read_bytes())
    assert header["device"] == "a"
    return [visit["key"] for visit in visits]


def test_a_run_writes_a_line_a_visit_and_says_how_far_it_is(
    bent_plan: MakePlan, tmp_path: Path, make_bench: Callable[[], _Bench]
) -> None:
    plan, table, said = bent_plan(min_rounds=3, max_rounds=4), tmp_path / "table", list[str]()
    bench, seen = make_bench(), list[tuple[str, bool, list[Path]]]()

    def make(plan: Plan, folder: Path) -> _Bench:
        seen.append((plan.precision, table.exists(), list(folder.iterdir())))
        return bench

    profile.profile(plan, table, said.append, make)
    assert seen == [("fp32", False, [])]
    assert _keys_in(table) == bench.visited
    assert sorted(Counter(bench.visited).values()) == [3, 3]
    assert said[0] == "measured 0/6 visits"
    assert said[-2].startswith("measured 6/6 visits")


def test_a_complete_table_is_left_as_it_is_and_nothing_is_warmed_up(
    bent_plan: MakePlan, tmp_path: Path, make_bench: Callable[[], _Bench]
) -> None:
    plan, table, said = bent_plan(), tmp_path / "table", list[str]()
    profile.profile(plan, table, said.append, lambda *_: make_bench())
    content, bench = table.read_bytes(), make_bench()
    profile.profile(plan, table, said.append, lambda *_: bench)
    assert said[-1] == f"nothing to measure: all 2 entries are in {table}"
    assert (bench.warm, table.read_bytes()) == (0, content)


@pytest.mark.parametrize("stop_after", range(4))
def test_a_run_that_is_stopped_goes_on_where_it_was(
    bent_plan: MakePlan, tmp_path: Path, make_bench: Callable[[], _Bench], stop_after: int
) -> None:
    plan, table = bent_plan(), tmp_path / "table"
    stopped, other = make_bench(), make_bench()
    stopped.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        profile.profile(plan, table, lambda _: None, lambda *_: stopped)
    content = table.read_bytes()
    assert _keys_in(table) == stopped.visited
    profile.profile(plan, table, lambda _: None, lambda *_: other)
    assert table.read_bytes().startswith(content)
    assert sorted(Counter(stopped.visited + other.visited).values()) == [2, 2]


def test_a_table_of_another_device_is_refused_before_the_bench_is_warm(
    bent_plan: MakePlan, tmp_path: Path, make_bench: Callable[[], _Bench]
) -> None:
    plan, table = bent_plan(), tmp_path / "table"
    profile.profile(plan, table, lambda _: None, lambda *_: make_bench())
    header, _, rest = table.read_bytes().partition(b"\n")
    other = json.dumps(json.loads(header) | {"device": "z"}).encode() + b"\n" + rest
    table.write_bytes(other)
    bench = make_bench()
    with pytest.raises(ProfileError, match="device is 'z' there and 'a' here; give another --out"):
        profile.profile(plan, table, lambda _: None, lambda *_: bench)
    assert (bench.warm, bench.visited, table.read_bytes()) == (0, [], other)
