"""Which entries are visited again, how their visits are summed up, and a run from end to end."""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from latency import profile
from latency.profile import (
    COMPANY,
    FEW,
    REFERENCE,
    SITTING,
    Plan,
    ProfileError,
    Rounds,
    at_usual_speed,
    half_interval,
    parse_table,
    pooled_spread,
    seated,
    turns_of,
    undisturbed,
    visit_lines,
)

MakePlan = Callable[..., Path]
MakeVisit = Callable[..., dict[str, Any]]
GRAPH = {"graph": "graphs/0.onnx", "input_shape": [1, 4, 8, 8]}


def _entry(key: str, **fields: Any) -> dict[str, Any]:
    return {"key": key, **GRAPH, **fields}


def _keys(sittings: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    return sorted(entry["key"] for sitting in sittings for entry in sitting)


def _time() -> float:
    """A moment of its own for a visit, which then is a sitting of its own."""
    return float(next(_TIMES))


_TIMES = count()


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
    for at_s in (0.0, 1.0):
        assert _keys(rounds.due()) == ["a", "b"]
        for key in "ab":
            rounds.add(make_visit(key, 1.0, at_s))
    assert rounds.due() == []


def test_what_is_lacking_has_too_few_visits_whatever_they_say(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    whole = {"parts": ["p", "q"], "boundaries": ["b"], "role": "validation"}
    entries = [
        _entry("seldom"),
        _entry("often"),
        _entry("whole", **whole),
        _entry("traced", trace=True),
        _entry("company", company=True),
    ]
    records = [
        *(make_visit("seldom", 1.0, _time()) for _ in range(1)),
        *(make_visit("often", ms, _time()) for ms in (1.0, 2.0)),  # and would be visited again
        *(make_visit("whole", 1.0, _time(), **whole) for _ in range(3)),
        make_visit("traced", 1.0, _time()),
    ]
    rounds = make_rounds(entries, records, min_rounds=2, max_rounds=5)
    assert [entry["key"] for entry in rounds.lacking()] == ["seldom", "whole", "traced"]
    assert "often" in _keys(rounds.due())
    rounds.add(make_visit("seldom", 1.0, _time()))
    rounds.add(make_visit("whole", 1.0, _time(), **whole))
    rounds.add(make_visit("traced", 1.0, _time(), ops=[["node", "Conv", 1.0]]))
    assert rounds.lacking() == []


def test_whole_networks_have_two_visits_a_round_in_different_sittings(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    blocks = [_entry(f"block {number}") for number in range(2 * SITTING)]
    network = _entry("network", parts=["a", "b"], boundaries=["c"])
    rounds = make_rounds([*blocks, network], min_rounds=2, max_rounds=2)
    for _ in range(2):
        sittings = rounds.due()
        assert [_keys([sitting]).count("network") for sitting in sittings].count(1) == 2
        assert len(_keys(sittings)) == len(blocks) + 2
        for sitting in sittings:
            at_s = _time()
            for entry in sitting:
                rounds.add(make_visit(entry["key"], 1.0, at_s))
    assert rounds.due() == []
    assert rounds.progress() == (4 * SITTING + 4, 4 * SITTING + 4)


def test_a_network_by_itself_is_visited_as_often(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    network = _entry("network", parts=["a", "b"], boundaries=["c"])
    rounds = make_rounds([network], min_rounds=2, max_rounds=2)
    for _ in range(4):
        assert _keys(rounds.due()) == ["network"]
        rounds.add(make_visit("network", 1.0, _time()))
    assert rounds.due() == []


def test_only_entries_whose_visits_disagree_are_visited_up_to_the_most_rounds(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    entries = [_entry(key) for key in "abc"]
    rounds = make_rounds(entries, min_rounds=2, max_rounds=4)
    for at_s, wrong in enumerate((1.0, 1.1)):
        for key, latency_ms in (("a", 1.0), ("b", 1.0), ("c", wrong)):
            rounds.add(make_visit(key, latency_ms, float(at_s)))
    for latency_ms in (1.0, 1.1):
        assert _keys(rounds.due()) == ["c"]
        rounds.add(make_visit("c", latency_ms, 10 + latency_ms))
    assert rounds.due() == []


def test_an_entry_by_itself_cannot_agree_better_than_entries_usually_do(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    # Twice the same by chance, where visits of all the others differ by ten per cent.
    latencies = {"a": (1.0, 1.0), "b": (1.0, 1.1), "c": (1.1, 1.0), "d": (1.0, 1.1)}
    records = [
        make_visit(key, ms, float(at))
        for key, visits in latencies.items()
        for at, ms in enumerate(visits)
    ]
    rounds = make_rounds([_entry(key) for key in "abcd"], records, min_rounds=2, max_rounds=4)
    assert _keys(rounds.due()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("latency_ms", "due"), [(1.0, ["a"]), (0.01, [])])
def test_what_is_small_beside_the_reference_need_not_be_known_as_well(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit, latency_ms: float, due: list[str]
) -> None:
    # Visits 6 % apart: too much of 1 ms, and nothing of 10 µs beside a reference of 1 ms.
    records = [make_visit("a", latency_ms), make_visit("a", 1.06 * latency_ms, 1.0)]
    rounds = make_rounds([_entry("a")], records, min_rounds=2, max_rounds=9)
    assert _keys(rounds.due()) == due


def test_visits_in_the_table_count_and_those_of_other_entries_do_not(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0), make_visit("a", 1.0, 1.0), make_visit("other", 9.0)]
    rounds = make_rounds([_entry("a"), _entry("b")], records, min_rounds=2, max_rounds=2)
    assert _keys(rounds.due()) == ["b"]


def test_an_entry_is_traced_once_also_where_it_was_visited_without_a_trace(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0), make_visit("a", 2.0, 1.0)]
    rounds = make_rounds([_entry("a", trace=True)], records, min_rounds=2, max_rounds=9)
    assert _keys(rounds.due()) == ["a"]
    rounds.add(make_visit("a", 1.0, 2.0, ops=[["conv", "Conv", 0.5]]))
    assert rounds.due() == []


def test_company_fills_small_sittings_and_is_not_due_itself(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    known = [_entry(f"known {n}", company=True) for n in range(SITTING)]
    known += [_entry("plain", company=True, kind="plain")]
    held = [make_visit(entry["key"], 1.0, 0.0) for entry in known]
    rounds = make_rounds(
        [*known, _entry("a"), _entry("b", kind="plain")], held, min_rounds=2, max_rounds=2
    )
    for at_s in (1.0, 2.0):
        (sitting,) = rounds.due()
        keys = [entry["key"] for entry in sitting]
        assert len(set(keys)) == len(keys) == SITTING
        assert {"a", "b", "plain"} < set(keys)
        for key in keys:
            rounds.add(make_visit(key, 1.0, at_s))
    assert rounds.due() == []
    assert rounds.progress() == (4, 4)


def test_few_entries_leave_half_of_the_seats_to_company_which_sits_among_them(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    known = [_entry(f"known {n}", company=True) for n in range(SITTING)]
    held = [make_visit(entry["key"], 1.0, 0.0) for entry in known]
    few = [_entry(str(n)) for n in range(FEW)]
    sittings = make_rounds([*known, *few], held, min_rounds=1).due()
    beside = [[bool(e.get("company")) for e in sitting] for sitting in sittings]
    assert [(len(sitting), sum(sitting)) for sitting in beside] == [(SITTING, SITTING // 2)] * 10
    assert any(sitting != sorted(sitting) for sitting in beside)
    many = make_rounds([*known, *few, _entry("one more")], held, min_rounds=1).due()
    assert len(many) == FEW // SITTING + 1


def test_what_is_timed_alone_has_no_company(make_rounds: Callable[..., Rounds]) -> None:
    rounds = make_rounds([_entry("known", company=True), _entry("a", alone=True)], min_rounds=1)
    assert _keys(rounds.due()) == ["a"]


def test_a_round_is_in_random_order(make_rounds: Callable[..., Rounds]) -> None:
    rounds = make_rounds([_entry(str(number)) for number in range(50)])
    orders = [[e["key"] for sitting in rounds.due() for e in sitting] for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("number", [2, SITTING])
def test_what_is_made_first_is_made_last_the_next_time(
    number: int, make_rounds: Callable[..., Rounds]
) -> None:
    rounds = make_rounds([_entry(str(n)) for n in range(number)])
    orders = [[e["key"] for sitting in rounds.due() for e in sitting] for _ in range(40)]
    assert orders[1::2] == [order[::-1] for order in orders[::2]]
    assert len(set(map(tuple, orders))) > 1


def test_progress_is_what_was_visited_and_what_is_known_to_be_due(
    make_rounds: Callable[..., Rounds], make_visit: MakeVisit
) -> None:
    records = [make_visit("a", 1.0, _time())]
    rounds = make_rounds([_entry("a"), _entry("b")], records, min_rounds=3, max_rounds=4)
    rounds.due()
    assert rounds.progress() == (0, 5)
    rounds.add(make_visit("a", 1.3, _time()))
    rounds.add(make_visit("b", 1.0, _time()))
    assert rounds.progress() == (2, 5)
    for key in "abb":
        rounds.add(make_visit(key, 1.0, _time()))
    assert _keys(rounds.due()) == ["a", "b"]
    assert rounds.progress() == (5, 7)


class TestSeats:
    def test_sittings_are_of_equal_size_and_no_entry_is_twice_in_one(self) -> None:
        entries = [_entry(str(number)) for number in range(2 * SITTING + 10)]
        twice = [entry for entry in entries for _ in range(2)]
        sittings = seated(twice)
        assert [len(sitting) for sitting in sittings] == [len(twice) // 5] * 5
        assert all(len({e["key"] for e in sitting}) == len(sitting) for sitting in sittings)
        assert _keys(sittings) == sorted(entry["key"] for entry in twice)

    def test_few_of_a_kind_sit_together_and_many_everywhere(self) -> None:
        rare = [_entry(f"rare {number}", kind="rare") for number in range(2 * COMPANY)]
        usual = [_entry(f"usual {number}", kind="usual") for number in range(5 * SITTING)]
        sittings = seated([*rare, *usual])
        counts = {
            kind: [_count(kind, sitting) for sitting in sittings] for kind in ("rare", "usual")
        }
        assert sorted(counts["rare"]) == [0] * (len(sittings) - 2) + [COMPANY] * 2
        assert max(counts["usual"]) - min(counts["usual"]) <= 1

    def test_what_is_timed_alone_sits_by_itself(self) -> None:
        sittings = seated(
            [_entry("a", alone=True), _entry("b"), _entry("c"), _entry("d", alone=True)]
        )
        keys = sorted(_keys([sitting]) for sitting in sittings)
        assert keys == [["a"], ["b", "c"], ["d"]]


def _count(kind: str, sitting: Sequence[dict[str, Any]]) -> int:
    return sum(entry["kind"] == kind for entry in sitting)


class TestTurns:
    def test_every_entry_has_its_turn_in_every_cycle_behind_the_reference(self) -> None:
        turns = turns_of([_entry(str(n)) for n in range(6)], 50, np.random.default_rng(0))
        cycles = [turns[at : at + 7] for at in range(0, len(turns), 7)]
        assert len(cycles) == 50
        assert all(cycle[0] == REFERENCE for cycle in cycles)
        assert all(sorted(cycle[1:]) == [*range(6)] for cycle in cycles)
        firsts = Counter(cycle[1] for cycle in cycles)
        assert firsts.keys() == {*range(6)}

    def test_entries_of_a_kind_follow_each_other_in_any_order(self) -> None:
        entries = [_entry(str(n), kind="ab"[n % 2]) for n in range(6)] + [_entry("6"), _entry("7")]
        turns = turns_of(entries, 50, np.random.default_rng(0))
        cycles = [turns[at + 1 : at + 9] for at in range(0, len(turns), 9)]
        for cycle in cycles:
            for kind in ({0, 2, 4}, {1, 3, 5}):
                places = sorted(cycle.index(turn) for turn in kind)
                assert places[-1] - places[0] == 2
        assert len({tuple(cycle) for cycle in cycles}) > 40

    def test_runs_of_an_entry_alone_follow_each_other(self) -> None:
        turns = turns_of([_entry("a", alone=True)], 3, np.random.default_rng(0))
        assert turns == [REFERENCE, 0, 0, 0, REFERENCE]


class TestUsualSpeed:
    """A machine whose speed at every sitting is known."""

    ENTRIES, ROUNDS, SIZE = 200, 4, 20

    def _visits(
        self, make_visit: MakeVisit, drift: float, noise: float, share: float = 1.0
    ) -> tuple[dict[str, float], list[dict[str, Any]]]:
        rng = np.random.default_rng(1)
        true_ms = {f"entry {n}": float(ms) for n, ms in enumerate(np.geomspace(0.05, 20, 200))}
        visits = []
        for _ in range(self.ROUNDS):
            order = rng.permutation(list(true_ms))
            for begin in range(0, self.ENTRIES, self.SIZE):
                slowness, at_s = rng.normal(0, drift), _time()
                reference_ms = 2.0 * math.exp(share * slowness)
                for key in order[begin : begin + self.SIZE]:
                    latency_ms = true_ms[key] * math.exp(slowness + rng.normal(0, noise))
                    visits.append(make_visit(key, latency_ms, at_s, reference_ms=reference_ms))
        return true_ms, visits

    @pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
    def test_what_slows_down_a_sitting_is_taken_out_whatever_the_reference_feels(
        self, make_visit: MakeVisit, share: float
    ) -> None:
        true_ms, visits = self._visits(make_visit, drift=0.3, noise=0.003, share=share)
        found = at_usual_speed(visits)
        errors = np.array([math.log(median(found[key]) / ms) for key, ms in true_ms.items()])
        # Of the usual speed nothing is known but that it is that of half of the sittings.
        assert np.abs(errors - np.median(errors)).max() < 0.02
        assert abs(np.median(errors)) < 0.15
        assert pooled_spread(list(found.values())) < 0.006

    def test_a_machine_that_changes_its_speed_for_good_has_its_usual_one(
        self, make_visit: MakeVisit
    ) -> None:
        visits = []
        for at_s in range(9):
            slower = 1.0 if at_s < 3 else 1.5
            for key, ms in (("a", 1.0), ("b", 3.0), ("c", 9.0)):
                visits.append(make_visit(key, ms * slower, float(at_s), reference_ms=2.0 * slower))
        # Two thirds of the visits are of the slower machine: that is its usual speed.
        assert at_usual_speed(visits)["b"] == pytest.approx([4.5] * 9)

    def test_one_entry_that_is_disturbed_does_not_move_the_others(
        self, make_visit: MakeVisit
    ) -> None:
        visits = [make_visit(key, 1.0, float(at)) for at in range(3) for key in "abcd"]
        visits[5] = visits[5] | {"latency_ms": 3.0}
        found = at_usual_speed(visits)
        assert found["b"] == pytest.approx([1.0, 3.0, 1.0])
        assert found["a"] == found["c"] == found["d"] == pytest.approx([1.0] * 3)

    def test_sittings_of_different_entries_are_held_together_by_the_reference(
        self, make_visit: MakeVisit
    ) -> None:
        # The machine is twice as slow where c and d are measured, and only the reference says so.
        fast = [make_visit(key, 1.0, float(at)) for at in range(3) for key in "ab"]
        slow = [make_visit(key, 2.0, float(at), reference_ms=2.0) for at in (7, 8) for key in "cd"]
        found = at_usual_speed([*fast, *slow])
        assert found["a"] == pytest.approx([1.0] * 3)
        assert found["c"] == pytest.approx([1.0] * 2)

    def test_visits_come_in_the_order_of_time(self, make_visit: MakeVisit) -> None:
        visits = [make_visit("a", ms, at) for at, ms in ((2.0, 1.3), (0.0, 1.1), (1.0, 1.2))]
        found = at_usual_speed(visits)["a"]
        assert found == sorted(found)
        assert at_usual_speed([]) == {}


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


def test_undisturbed_is_the_mean_of_the_fastest_third() -> None:
    assert undisturbed([9.0, 1.0, 3.0, 2.0, 4.0, 7.0]) == 1.5
    assert undisturbed([4.0, 1.0, 3.0, 2.0]) == 1.0
    assert undisturbed([5.0]) == 5.0


def test_lines_are_in_milliseconds_and_say_what_a_network_is_made_of() -> None:
    network = {"role": "calibration", "parts": ["a", "b"], "boundaries": ["c"]}
    entries = [_entry("n", kind="k", **network), _entry("m")]
    turns = [REFERENCE, 0, 1, REFERENCE, 1, 0, REFERENCE, 0, 1]
    took = [0.03, 0.002, 0.5, 0.01, 0.4, 0.003, 0.02, 0.001, 0.6]
    line, other = visit_lines(entries, turns, took)
    assert profile.check_visit(line) == ("n", line["at_s"])
    expected = {"key": "n", "runs": 3, **network}
    assert {name: line[name] for name in expected} == expected
    figures = {"latency_ms": 1.0, "median_ms": 2.0, "reference_ms": 10.0}
    assert {name: line[name] for name in figures} == pytest.approx(figures)
    assert line.keys() == {*expected, *figures, "at_s"}
    assert (other["key"], other["at_s"]) == ("m", line["at_s"])
    assert (other["latency_ms"], other["median_ms"]) == pytest.approx((400.0, 500.0))


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

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        if len(self.visited) == self.stop_after:
            raise KeyboardInterrupt
        self.visited += [entry["key"] for entry in entries]
        at_s = float(next(self._times))
        return [self._make_visit(entry["key"], 1.0, at_s) for entry in entries]


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


@pytest.mark.parametrize("stop_after", [0, 2])
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
