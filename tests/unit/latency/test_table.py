"""Tables: predictions by hand-made figures and of a machine that is known, and what is refused."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from math import exp, pi, sin
from pathlib import Path
from statistics import median, stdev
from typing import Any

import numpy as np
import pytest

from latency.context import After, walk_in_context
from latency.keys import block_key, boundary_key, network_boundaries, network_key, network_keys
from latency.plan import CALIBRATION, VALIDATION
from latency.table import (
    LatencyTable,
    MissingEntryError,
    TableError,
    aggregate,
    usual,
)
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace

Record = dict[str, Any]
MakeVisit = Callable[..., Record]
MakeTable = Callable[..., LatencyTable]
MakeHeader = Callable[..., Record]

STEM, HEAD = ConvNormAct(out_channels=8, kernel=3), ClassifierHead(num_classes=10)
NETWORK = Architecture(name="two", blocks=(STEM, HEAD), resolution=8)
STEM_KEY, HEAD_KEY = network_keys(NETWORK)
(EDGE,) = network_boundaries(NETWORK)
HEAD_PLACE = TensorShape(8, 8, 8), After.CONV
LATENCIES = {STEM_KEY: 2.0, EDGE: 0.5, HEAD_KEY: 1.5}


def _network(role: str = CALIBRATION) -> Record:
    return {"parts": [STEM_KEY, HEAD_KEY], "boundaries": [EDGE], "role": role}


@pytest.fixture
def load(tmp_path: Path, make_header: MakeHeader) -> Callable[..., LatencyTable]:
    """A table of these lines, read from a file."""

    def load(*lines: Record | str, **header: Any) -> LatencyTable:
        path = tmp_path / "table.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text(
            "".join(f"{text}\n" for text in [json.dumps(make_header(**header)), *texts])
        )
        return LatencyTable.load(path)

    return load


class TestPrediction:
    def test_a_network_is_its_first_block_and_what_the_others_add_to_their_boundaries(
        self, make_table: MakeTable
    ) -> None:
        table = make_table(LATENCIES)
        assert table.block_cost_ps(STEM, NETWORK.input_shape, After.IMAGE) == 2_000_000_000
        assert table.block_cost_ps(HEAD, *HEAD_PLACE) == 1_000_000_000
        assert table.network_latency_ms(NETWORK) == 3.0

    def test_sums_are_exact_in_picoseconds(self, make_table: MakeTable) -> None:
        # In floating point 0.1 + 0.2 is no 0.3.
        table = make_table({STEM_KEY: 0.1, EDGE: 0.25, HEAD_KEY: 0.45})
        assert table.network_latency_ms(NETWORK) == 0.3
        costs = [table.block_cost_ps(*step) for step in walk_in_context(NETWORK)]
        assert costs == [100_000_000, 200_000_000]

    def test_a_block_that_takes_less_than_its_boundary_adds_nothing(
        self, make_table: MakeTable
    ) -> None:
        table = make_table(LATENCIES | {HEAD_KEY: 0.4})
        assert table.block_cost_ps(HEAD, *HEAD_PLACE) == 0
        assert table.network_latency_ms(NETWORK) == 2.0

    def test_the_scale_is_that_of_networks_for_calibration(
        self, make_visit: MakeVisit, make_header: MakeHeader
    ) -> None:
        # Blocks add up to 3 ms; the networks take 2.7, 2.4 and 3.6 ms.
        visits = [make_visit(key, ms) for key, ms in LATENCIES.items()]
        visits += [make_visit(f"Network({ms})", ms, **_network()) for ms in (2.7, 2.4, 3.6)]
        visits.append(make_visit("Network(other)", 30.0, **_network(VALIDATION)))
        visits.append(make_visit("Network(no role)", 30.0, **_network("")))
        missing = _network() | {"parts": [STEM_KEY, "never measured"]}
        visits.append(make_visit("Network(torn)", 9.0, **missing))
        table = LatencyTable(make_header(), aggregate(visits), "table.jsonl")
        assert table.scale == pytest.approx(0.9)
        assert table.network_latency_ms(NETWORK) == pytest.approx(2.7)
        assert table.predicted_ms(table.entry("Network(other)")) == pytest.approx(2.7)

    @pytest.mark.parametrize("latency_ms", [0.3, 100.0])
    def test_networks_that_have_nothing_to_do_with_their_blocks_are_refused(
        self, make_visit: MakeVisit, make_header: MakeHeader, latency_ms: float
    ) -> None:
        visits = [make_visit(key, ms) for key, ms in LATENCIES.items()]
        visits.append(make_visit("Network(0)", latency_ms, **_network()))
        table = LatencyTable(make_header(), aggregate(visits), "table.jsonl")
        with pytest.raises(TableError, match=r"table.jsonl predicts nothing: .* measure anew"):
            table.network_latency_ms(NETWORK)

    @pytest.mark.parametrize("missing", [STEM_KEY, HEAD_KEY, EDGE])
    def test_what_is_missing_is_named_with_the_command_that_measures_it(
        self, make_table: MakeTable, missing: str
    ) -> None:
        table = make_table({key: ms for key, ms in LATENCIES.items() if key != missing})
        with pytest.raises(MissingEntryError) as caught:
            table.network_latency_ms(NETWORK)
        message = str(caught.value)
        assert f"table.jsonl has no entry for {missing}" in message
        assert "python latency/profile.py PLAN --out table.jsonl" in message


class Machine:
    """Blocks and stubs take known times; it slows down by a quarter and recovers again and again.

    The reference network feels that to the power ``share``. All visits are off by 1 %.
    """

    def __init__(self, share: float, networks: Mapping[Architecture, str]) -> None:
        """``networks``: what each is measured for; with "" it is not measured."""
        self._share = share
        self._random = random.Random(7)
        self._added_ms: dict[str, float] = {}
        self._graphs: dict[str, tuple[float, Record]] = {}
        for network, role in networks.items():
            for block, shape, after in walk_in_context(network):
                self._add_block(block_key(block, shape, after), boundary_key(shape, after))
            if role:
                keys, edges = list(network_keys(network)), list(network_boundaries(network))
                fields = {"parts": keys, "boundaries": edges, "role": role}
                self._graphs[network_key(network)] = self.true_ms(network), fields

    def _add_block(self, key: str, edge: str) -> None:
        self._added_ms.setdefault(key, self._random.uniform(0.1, 2.0))
        if edge.endswith(After.IMAGE):
            self._graphs[key] = self._added_ms[key], {}
        else:
            self._graphs.setdefault(edge, (self._random.uniform(0.05, 0.3), {}))
            self._graphs[key] = self._added_ms[key] + self._graphs[edge][0], {}

    def true_ms(self, network: Architecture) -> float:
        return sum(self._added_ms[key] for key in network_keys(network))

    def graph_ms(self, key: str) -> float:
        return self._graphs[key][0]

    def visits(self, make_visit: MakeVisit, rounds: int) -> list[Record]:
        found: list[Record] = []
        for _ in range(rounds):
            order = self._random.sample(list(self._graphs), len(self._graphs))
            for begin in range(0, len(order), 12):
                at_s = 0.5 * len(found)
                found += self._sitting(make_visit, order[begin : begin + 12], at_s)
        return found

    def _sitting(self, make_visit: MakeVisit, keys: Sequence[str], at_s: float) -> list[Record]:
        slowness = exp(0.25 * sin(2 * pi * at_s / 40))
        reference_ms = 3.0 * slowness**self._share * self._noise()
        return [
            make_visit(
                key,
                self._graphs[key][0] * slowness * self._noise(),
                at_s,
                reference_ms=reference_ms,
                **self._graphs[key][1],
            )
            for key in keys
        ]

    def _noise(self) -> float:
        return exp(self._random.gauss(0, 0.01))


@pytest.mark.parametrize("share", [0.0, 0.6, 1.0])
def test_a_known_machines_networks_are_recovered_to_within_its_noise(
    small_space: SearchSpace, make_visit: MakeVisit, make_header: MakeHeader, share: float
) -> None:
    choices = [
        dict(zip(small_space.choices, v, strict=True))
        for v in product(*small_space.choices.values())
    ]
    networks = {network_key(n): n for n in map(small_space.build, choices)}.values()
    roles = [CALIBRATION, VALIDATION, ""]
    machine = Machine(share, {network: roles[n % 3] for n, network in enumerate(networks)})
    visits = machine.visits(make_visit, rounds=8)
    table = LatencyTable(make_header(), aggregate(visits), "table.jsonl")
    errors = [table.network_latency_ms(n) / machine.true_ms(n) - 1 for n in networks]
    assert np.median(np.abs(errors)) < 0.02
    assert max(map(abs, errors)) < 0.035
    validation = table.validation()
    assert validation is not None
    assert validation.prediction.networks == len(networks) // 3
    assert validation.prediction.mape < 0.015
    assert validation.noise.mape < 0.02
    # The drift, of a factor of 1.6, makes no interval wide: noise of 1 % in 8 visits.
    middle = median(entry.interval for entry in table.entries)
    assert middle == pytest.approx(1.96 * 0.01 / 8**0.5, rel=0.5)
    errors = [abs(entry.latency_ms / machine.graph_ms(entry.key) - 1) for entry in table.entries]
    within = [e <= 2 * entry.interval for e, entry in zip(errors, table.entries, strict=True)]
    assert np.mean(within) > 0.75


class TestAggregation:
    def test_an_entry_is_the_mean_of_its_visits(self, make_visit: MakeVisit) -> None:
        figures = [(2.0, 2.1, 5.0), (2.2, 2.6, 6.0), (1.9, 2.0, 4.0)]
        # Others are off by a tenth in one visit each, and mostly not in the same.
        steady = [
            make_visit(key, 1.1 if number % 3 == at else 1.0, at)
            for number, key in enumerate("bcdefghijkl")
            for at in range(3)
        ]
        visits = [
            make_visit("a", ms, at, median_ms=middle, reference_ms=reference, runs=5 + at)
            for at, (ms, middle, reference) in enumerate(figures)
        ]
        entry = next(entry for entry in aggregate([*reversed(visits), *steady]) if entry.key == "a")
        assert entry.latency_ms == pytest.approx((2.0 * 2.2 * 1.9) ** (1 / 3))
        assert entry.median_ms == 2.1
        assert (entry.rounds, entry.runs) == (3, 18)
        assert (entry.drift, entry.reference_ms) == (1.5, 5.0)
        # By time: 2.0 | 2.2, 1.9.
        assert entry.halves_ms == pytest.approx((2.0, (2.2 * 1.9) ** 0.5))

    def test_a_visit_that_is_far_off_counts_as_two_deviations(self) -> None:
        visits = [exp(0.99), exp(1.0), exp(1.01), exp(3.0)]
        assert usual(visits, 0.02) == pytest.approx(exp((0.99 + 1.0 + 1.01 + 1.045) / 4))
        assert usual(visits, 10.0) == pytest.approx(exp(6.0 / 4))
        assert usual([2.0], 0.0) == pytest.approx(2.0)

    def test_one_visit_has_no_halves(self, make_visit: MakeVisit) -> None:
        (entry,) = aggregate([make_visit("a", 2.0)])
        assert (entry.rounds, entry.halves_ms, entry.interval) == (1, None, 0.0)

    def test_intervals_are_pooled_over_entries_unless_the_visits_own_are_wider(
        self, make_visit: MakeVisit
    ) -> None:
        # Visits of most entries are off by e±0.02; one's agree by chance, one's are off by e±0.3.
        offsets = {"calm": 0.0, "wild": 0.3} | {f"usual {n}": (-1) ** n * 0.02 for n in range(8)}
        visits = [
            make_visit(key, exp(sign * offset), at)
            for at, sign in enumerate((-1, 1))
            for key, offset in offsets.items()
        ]
        intervals = {entry.key: entry.interval for entry in aggregate(visits)}
        # Two visits of normal noise differ by less, in the median, than their deviation says.
        usual = 1.96 * stdev([-0.02, 0.02]) / 0.6745 / 2**0.5
        assert intervals["usual 0"] == pytest.approx(usual, rel=0.03)
        assert intervals["calm"] == pytest.approx(usual, rel=0.03)
        assert intervals["wild"] == pytest.approx(1.96 * stdev([-0.3, 0.3]) / 2**0.5)

    def test_more_visits_make_an_interval_narrower(self, make_visit: MakeVisit) -> None:
        def interval(count: int) -> float:
            visits = [make_visit("a", 1.0 + 0.01 * (at % 2), at / 100) for at in range(count)]
            (entry,) = aggregate(visits)
            return entry.interval

        assert interval(64) == pytest.approx(interval(16) / 2, rel=0.1)

    def test_a_network_keeps_what_it_is_made_of(self, make_visit: MakeVisit) -> None:
        ops = [["conv", "Conv", 0.5]]
        (entry,) = aggregate([make_visit("n", 3.0, ops=ops, **_network())])
        assert entry.parts == (STEM_KEY, HEAD_KEY)
        assert entry.boundaries == (EDGE,)
        assert entry.role == CALIBRATION
        assert entry.ops == (("conv", "Conv", 0.5),)

    def test_the_reference_of_a_table_is_that_beside_blocks(
        self, make_visit: MakeVisit, make_header: MakeHeader
    ) -> None:
        visits = [make_visit(key, 1.0, reference_ms=3.0) for key in LATENCIES]
        visits += [make_visit(f"n {n}", 3.0, reference_ms=5.0, **_network()) for n in range(9)]
        assert LatencyTable(make_header(), aggregate(visits), "t").reference_ms == 3.0


class TestHeader:
    def test_one_that_differs_is_refused_and_says_in_what(self, make_table: MakeTable) -> None:
        table = make_table(LATENCIES)
        table.check(threads=1, runtime="onnxruntime")
        with pytest.raises(TableError) as caught:
            table.check(threads=4, runtime="onnxruntime", nosuch="a")
        message = str(caught.value)
        assert "threads is 1 there and 4 here" in message
        assert "nosuch is None there and 'a' here" in message
        assert "runtime is" not in message


class TestFile:
    def test_what_was_written_is_read_back(
        self, load: Callable[..., LatencyTable], make_visit: MakeVisit, make_header: MakeHeader
    ) -> None:
        visits = [make_visit(key, ms, at) for at in (1.0, 2.0) for key, ms in LATENCIES.items()]
        visits.append(make_visit(network_key(NETWORK), 2.7, **_network()))
        table = load(*visits)
        assert table.header == make_header()
        assert list(table.entries) == aggregate(visits)
        assert len(table) == 4
        assert HEAD_KEY in table
        assert table.scale == pytest.approx(0.9)

    def test_a_torn_last_line_is_dropped(self, tmp_path: Path, load: Any, make_visit: Any) -> None:
        table = load(make_visit("a", 1.0), make_visit("b", 1.0))
        path = Path(table.source)
        path.write_bytes(path.read_bytes()[:-20])
        assert [entry.key for entry in LatencyTable.load(path).entries] == ["a"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("not JSON", "Expecting value"),
            ("", "Expecting value"),
            ("[1, 2]", "must be a JSON object"),
            ("[" * 100_000, "nested too deeply"),
            ("9" * 5000, "Exceeds the limit"),
            ('{"key": "a"}', "latency_ms must be a number in 1e-09..1e.09, but is None"),
            ({"key": ""}, "key and role must be names"),
            ({"key": ["a"]}, "key and role must be names"),
            ({"role": 3}, "key and role must be names"),
            ({"key": STEM_KEY, "at_s": 0.0}, "repeats line 2"),
            ({"latency_ms": -1.0}, "latency_ms must be a number in 1e-09..1e.09, but is -1.0"),
            ({"latency_ms": True}, "latency_ms must be a number"),
            ({"latency_ms": "1"}, "latency_ms must be a number"),
            ({"latency_ms": 10**400}, "latency_ms must be a number"),
            ({"latency_ms": float("nan")}, "NaN is no number"),
            ({"median_ms": 0.0}, "median_ms must be a number"),
            ({"reference_ms": float("inf")}, "Infinity is no number"),
            ({"runs": 0}, "runs must be a number in 1..1000, but is 0"),
            ({"at_s": -1.0}, "at_s must be a number"),
            ({"parts": "ab"}, "parts and boundaries must be lists of keys"),
            ({"parts": ["a", 1], "boundaries": ["b"]}, "parts and boundaries must be lists"),
            ({"parts": ["a", "b"]}, "2 parts and 0 boundaries"),
            ({"ops": [["a", "Conv"]]}, "ops must be a list of"),
            ({"energy_mj": 1.0}, "has the unknown field 'energy_mj'"),
        ],
    )
    def test_a_damaged_line_is_named_by_file_and_line(
        self,
        load: Callable[..., LatencyTable],
        make_visit: MakeVisit,
        line: Record | str,
        message: str,
    ) -> None:
        if isinstance(line, dict):
            line = make_visit("new", 1.0, 5.0) | line
        with pytest.raises(TableError, match=message) as caught:
            load(make_visit(STEM_KEY, 1.0), make_visit("b", 1.0), line, make_visit("c", 1.0))
        assert "table.jsonl, line 4: " in str(caught.value)
        assert "delete the line to measure it again" in str(caught.value)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "holds no table yet"),
            (b'{"format": "chronas-lat', "holds no table yet"),
            (b"somebody's letter", "is no latency table"),
            (b"somebody's\nletter\n", "line 1: "),
            (b'{"format": "chronas-latency-table", "version": 1}\n', "of this version"),
            (b"\x80\x81\n", "line 1: "),
        ],
    )
    def test_what_is_no_table_is_refused(
        self, tmp_path: Path, content: bytes, message: str
    ) -> None:
        path = tmp_path / "table.jsonl"
        path.write_bytes(content)
        with pytest.raises(TableError, match=message):
            LatencyTable.load(path)
