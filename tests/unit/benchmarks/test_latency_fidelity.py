import csv
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest

from benchmarks import latency_fidelity
from benchmarks.fidelity_comparison import Comparison, compare
from benchmarks.fidelity_methods import (
    COPIES,
    METHODS,
    Reading,
    chained,
    context_hot,
    graph_builders,
    readings_of,
)
from benchmarks.latency_fidelity import (
    fitted_networks,
    main,
)
from latency.context import After
from latency.plan import (
    CALIBRATION,
    VALIDATION,
    MeasureSettings,
    Progress,
    entry_builders,
    no_progress,
    steps_of,
    whole_networks,
    write_plan,
)
from latency.profile import Plan, table_header
from latency.table import LatencyTable, read_visits
from latency.validate import held_out_networks
from search_spaces.architecture import Architecture
from search_spaces.blocks import Activation, ClassifierHead, ConvNormAct, InvertedResidual, Skip
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace, mobilenet_v3_space

COPIED = "role", "parts", "boundaries"
SETTINGS = MeasureSettings(runs=3, min_rounds=2, max_rounds=2)
DESCRIBED = {
    "device": {"cpu": "made up"},
    "runtime": "none",
    "runtime_version": "1",
    "provider": "x",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A machine on which a run costs so much by itself, and so much a node and a cold megabyte."""

    run_ms: float = 0.0
    node_ms: float = 0.01
    cold_ms_per_mb: float = 0.0

    name = "made_up"
    is_live = True

    def describe(self) -> dict[str, Any]:
        return DESCRIBED

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        header, entries = _read(plan)
        lines = [
            {
                "key": entry["key"],
                "latency_ms": self._latency_ms(entry, nodes),
                "median_ms": self._latency_ms(entry, nodes),
                "reference_ms": 2.0,
                "runs": 3,
                "at_s": 1000.0 + number,
                **{name: entry[name] for name in COPIED if name in entry},
            }
            for number, (entry, nodes) in enumerate(entries * 2)
        ]
        table.write_text("".join(json.dumps(line) + "\n" for line in [header, *lines]))
        on_progress(len(lines), len(lines))

    def _latency_ms(self, entry: Mapping[str, Any], nodes: int) -> float:
        cold_mb = 0.0 if entry.get("alone") else entry.get("weights_bytes", 0) / 1e6
        return self.run_ms + self.node_ms * nodes + self.cold_ms_per_mb * cold_mb


@cache
def _read(plan: Path) -> tuple[dict[str, Any], list[tuple[dict[str, Any], int]]]:
    """The header of a table of the plan, and its entries with the nodes of their graphs."""
    with Plan(plan) as opened, zipfile.ZipFile(plan) as archive:
        return table_header(opened, DESCRIBED), [
            (entry, len(onnx.load_from_string(archive.read(entry["graph"])).graph.node))
            for entry in opened.entries
        ]


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return mobilenet_v3_space(resolution=32, num_classes=10)


@pytest.fixture(scope="module")
def networks(space: SearchSpace) -> tuple[list[Architecture], list[Architecture]]:
    return held_out_networks([(space, 3)], [], 0), fitted_networks(space, 8)


@pytest.fixture(scope="module")
def plan(
    networks: tuple[list[Architecture], list[Architecture]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    held_out, fitted = networks
    roles = dict.fromkeys(held_out, VALIDATION) | dict.fromkeys(fitted, CALIBRATION)
    builders = graph_builders(steps_of(roles), SETTINGS) | entry_builders((), roles, SETTINGS)
    path = tmp_path_factory.mktemp("plans") / "plan.zip"
    write_plan(path, list(builders.values()), SETTINGS, no_progress)
    return path


Networks = tuple[list[Architecture], list[Architecture]]


def _compared(
    world: World, plan: Path, networks: Networks, folder: Path
) -> tuple[LatencyTable, Comparison]:
    path = folder / "table.jsonl"
    world.measure(plan, path, no_progress)
    table = LatencyTable.load(path)
    readings = readings_of(table, read_visits(path)[1])
    return table, compare(table, readings, *networks)


def _mape(comparison: Comparison) -> dict[tuple[str, str], float]:
    return {(found.method, found.fit): found.fidelity.mape for found in comparison.outcomes}


def test_where_runs_cost_nothing_and_nothing_is_cold_every_method_is_exact(
    plan: Path, networks: Networks, tmp_path: Path
) -> None:
    _, comparison = _compared(World(), plan, networks, tmp_path)
    assert len(comparison.outcomes) == len(METHODS) * 2
    mape = _mape(comparison)
    assert comparison.noise.mape == 0
    # An empty run is of a graph of one node.
    assert 0.05 < mape.pop(("less_run", "none")) < 0.5
    assert max(error for (method, _), error in mape.items() if method != "less_run") < 1e-6


def test_what_a_run_costs_is_counted_for_every_block_by_those_that_do_not_take_it_off(
    plan: Path, networks: Networks, tmp_path: Path
) -> None:
    _, comparison = _compared(World(run_ms=0.05), plan, networks, tmp_path)
    mape = _mape(comparison)
    assert mape["isolated", "none"] > 0.5
    assert mape["turns", "none"] > 0.5
    assert mape["context", "none"] < 1e-6
    assert mape["context_hot", "none"] < 1e-6
    assert 0 < mape["less_run", "none"] < mape["isolated", "none"]
    assert mape["bracketed", "none"] == pytest.approx(mape["isolated", "none"])


def test_cold_weights_are_seen_in_turns_only(
    plan: Path, networks: Networks, tmp_path: Path
) -> None:
    _, comparison = _compared(World(cold_ms_per_mb=0.3), plan, networks, tmp_path)
    mape = _mape(comparison)
    assert mape["context", "none"] < 1e-6
    assert mape["turns", "none"] < 1e-6
    for method in ("isolated", "context_hot", "chained"):
        assert mape[method, "none"] > 0.05
        assert mape[method, "scale"] > 1e-3


def test_the_default_method_predicts_what_the_table_predicts(
    plan: Path, networks: Networks, tmp_path: Path
) -> None:
    table, comparison = _compared(World(run_ms=0.05, cold_ms_per_mb=0.1), plan, networks, tmp_path)
    found = next(o for o in comparison.outcomes if (o.method, o.fit) == ("context", "scale"))
    expected = [table.network_latency_ms(network) for network in networks[0]]
    assert found.predicted_ms == pytest.approx(expected, rel=1e-6)


def test_networks_that_are_fitted_on_are_of_the_tables_own(space: SearchSpace) -> None:
    networks = whole_networks(space)
    fitted = fitted_networks(space, 8)
    assert len(fitted) == 8
    assert fitted[0] == space.build(space.base_choices)
    assert {networks[network] for network in fitted} == {CALIBRATION}


def test_copies_in_a_chain_have_weights_of_their_own() -> None:
    block = InvertedResidual(
        expanded_channels=24,
        out_channels=8,
        kernel=3,
        stride=1,
        skip=Skip.IDENTITY,
        activation=Activation.RELU,
    )
    (copies, factor), (once, subtracted) = chained((block, TensorShape(8, 4, 4), After.CONV))
    assert (factor, subtracted) == (1 / COPIES, -1 / COPIES)
    entry, single = copies.entry(SETTINGS), once.entry(SETTINGS)
    assert entry.alone
    assert single.alone
    assert entry.weights_bytes == (1 + COPIES) * single.weights_bytes
    ranges = sorted(_external_ranges(entry.graph))
    assert len(ranges) == (1 + COPIES) * len(_external_ranges(single.graph))
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ranges))


def _external_ranges(graph: bytes) -> list[tuple[int, int]]:
    found = []
    for tensor in onnx.load_from_string(graph).graph.initializer:
        fields = {field.key: field.value for field in tensor.external_data}
        if fields:
            begin = int(fields["offset"])
            found.append((begin, begin + int(fields["length"])))
    return found


@pytest.mark.parametrize(
    "block",
    [ConvNormAct(out_channels=16, kernel=1), ClassifierHead(num_classes=8)],
    ids=("wider", "head"),
)
def test_what_cannot_follow_itself_is_not_chained(block: ConvNormAct | ClassifierHead) -> None:
    step = block, TensorShape(8, 1, 1), After.CONV
    keys = [graph.key for graph, _ in context_hot(step)]
    assert [graph.key for graph, _ in chained(step)] == keys


def test_less_than_nothing_is_nothing() -> None:
    step = ConvNormAct(out_channels=8, kernel=1), TensorShape(8, 4, 4), After.CONV
    method = next(method for method in METHODS if method.name == "context")
    block, boundary = (graph.key for graph, _ in method.terms(step))
    reading = Reading(latency_ms=1.0, median_ms=1.0, bracketed_ms=1.0, seconds=1.0)
    slower = Reading(latency_ms=2.0, median_ms=2.0, bracketed_ms=2.0, seconds=1.0)
    assert method.added_ms(step, {block: reading, boundary: slower}) == 0.0


def test_the_command_writes_both_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(latency_fidelity, "device_of", lambda options: World(run_ms=0.05))
    out = tmp_path / "out"
    arguments = ["--mobilenet-v3", "1", "--mnasnet", "0", "--no-seeds", "--calibration", "8"]
    assert main([*arguments, "--resolution", "32", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 networks, none of them fitted on:" in lines
    named = [line.split()[0] for line in lines if line.startswith(tuple(m.name for m in METHODS))]
    assert named == [method.name for method in METHODS for _ in range(2)]
    with (out / "methods.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows[:3]] == ["noise_floor", *["isolated"] * 2]
    assert len(rows) == 1 + 2 * len(METHODS)
    with (out / "networks.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["name"] == "mobilenet_v3_0"
    assert len(row) == 4 + 2 * len(METHODS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mnasnet", "-1"], "--mnasnet must be in 0..10000, but got -1"),
        (["--mobilenet-v3", "0", "--mnasnet", "0"], "give networks of a space"),
        (["--calibration", "3"], "--calibration must be in 4..24"),
        (["--mnasnet", "0", "--calibration", "7"], "--calibration must be in 8..24"),
        (["--min-rounds", "1"], "--min-rounds must be 2 or more, but got 1"),
        (["--resolution", "0"], "resolution must be in 1..4096, but got 0"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.latency_fidelity: error: ")
    assert error.count("\n") == 1
    assert message in error
