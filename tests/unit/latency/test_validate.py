"""Validation: which networks, what is compared with what, and what comes out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latency import validate
from latency.keys import alone_key, network_key
from latency.measure import load_checked
from latency.options import SPACES
from latency.plan import (
    CALIBRATION,
    VALIDATION,
    MeasureSettings,
    entry_builders,
    no_progress,
    steps_of,
    whole_networks,
    write_plan,
)
from latency.table import LatencyTable, MissingEntryError
from latency.validate import compare, held_out_networks, main, report_lines
from search_spaces import load_seed
from search_spaces.architecture import Architecture
from search_spaces.costs import count_costs
from search_spaces.spaces import SearchSpace

Record = dict[str, Any]
MOBILENET = load_seed("mobilenet_v1", resolution=32)


@pytest.fixture
def cost_ms() -> Callable[[Record], float]:
    """Blocks take 0.1 to 1.1 ms beyond a boundary of 0.25, and 0.3 more alone; networks take 1.05
    times the sum of their blocks."""

    def cost_ms(entry: Record) -> float:
        if "parts" in entry:
            return 1.05 * sum(map(added_ms, entry["parts"]))
        if entry["key"].startswith("boundary"):
            return 0.25
        block, _, place = entry["key"].rpartition(" ")
        if place == "alone":
            return added_ms(block) + 0.3
        return added_ms(entry["key"]) + (0.0 if place == "image" else 0.25)

    def added_ms(key: str) -> float:
        block = key.removesuffix(" alone").partition(" after ")[0]
        return 0.1 + sum(block.encode()) % 101 / 100

    return cost_ms


@pytest.fixture
def device(
    make_device: Callable[..., Any],
    cost_ms: Any,
    wider_space: SearchSpace,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """What the command measures on; ``mnasnet`` is the wider space."""
    device = make_device(cost_ms)
    monkeypatch.setattr(validate, "device_of", lambda _: device)
    monkeypatch.setitem(SPACES, "mnasnet", lambda: wider_space)
    return device


def test_networks_are_random_members_that_are_not_fitted_on_and_those_that_are_named(
    wider_space: SearchSpace,
) -> None:
    fitted = _fitted(wider_space)
    found = held_out_networks([(wider_space, 30)], [MOBILENET, fitted[0]], random_seed=3)
    keys = [network_key(network) for network in found]
    assert len(set(keys)) == len(keys)
    assert not {network_key(network) for network in fitted} & set(keys)
    # About 24 of 81 are fitted on, and so some 9 of the 30.
    assert 15 <= len(found) <= 27
    assert found[-1] == MOBILENET
    assert {network.name.partition("_")[0] for network in found[:-1]} == {"wider"}
    assert held_out_networks([(wider_space, 30)], [MOBILENET], random_seed=3) == found
    assert held_out_networks([(wider_space, 30)], [MOBILENET], random_seed=4) != found


def _fitted(space: SearchSpace) -> list[Architecture]:
    return [network for network, role in whole_networks(space).items() if role == CALIBRATION]


def test_a_network_that_is_named_twice_counts_once() -> None:
    assert held_out_networks([], [MOBILENET, MOBILENET], random_seed=0) == [MOBILENET]


def _measured(
    path: Path, device: Any, networks: list[Architecture], fitted: list[Architecture]
) -> LatencyTable:
    settings = MeasureSettings(min_rounds=2, max_rounds=2)
    roles = dict.fromkeys(networks, VALIDATION) | dict.fromkeys(fitted, CALIBRATION)
    builders = entry_builders(steps_of(roles), roles, settings)
    write_plan(path / "plan", list(builders.values()), settings, no_progress)
    device.measure(path / "plan", path / "table.jsonl", no_progress)
    return load_checked(device, path / "table.jsonl", settings)


def test_predictions_and_baselines_are_compared_with_the_clock(
    tmp_path: Path, device: Any, cost_ms: Any, make_visit: Any, wider_space: SearchSpace
) -> None:
    fitted = _fitted(wider_space)
    networks = held_out_networks([(wider_space, 9)], [], random_seed=0)
    table = _measured(tmp_path, device, networks, fitted)
    with pytest.raises(MissingEntryError, match="alone"):
        compare(table, networks, fitted)
    with (tmp_path / "table.jsonl").open("a") as file:
        for key in {alone_key(*step) for network in networks for step in network.walk()}:
            file.write(json.dumps(make_visit(key, cost_ms({"key": key}))) + "\n")
    report = compare(LatencyTable.load(tmp_path / "table.jsonl"), networks, fitted)
    # A network is 1.05 times its blocks, which the scale knows from others.
    assert report.prediction.networks == len(networks) > 3
    assert report.prediction.worst < 1e-6
    assert report.noise.worst == 0.0
    # Alone, every block takes 0.3 ms more.
    measured = [table.entry(network_key(network)).latency_ms for network in networks]
    alone = [ms / 1.05 + 0.3 * len(n.blocks) for ms, n in zip(measured, networks, strict=True)]
    errors = np.array(alone) / measured - 1
    assert report.alone.bias == pytest.approx(errors.mean(), rel=1e-6)
    # The regression on multiply-adds, by another solver.
    known = [table.entry(network_key(network)).latency_ms for network in fitted]
    madds = [[count_costs(network).madds / 1e6, 1.0] for network in fitted]
    line, *_ = np.linalg.lstsq(np.array(madds), np.array(known), rcond=None)
    predicted = [count_costs(n).madds / 1e6 * line[0] + line[1] for n in networks]
    errors = np.abs(np.array(predicted) / measured - 1)
    assert report.madds.mape == pytest.approx(errors.mean(), rel=1e-6)
    assert [network["measured_ms"] for network in report.networks] == measured
    assert report.networks[0]["predicted_ms"] == pytest.approx(measured[0])
    assert len(report_lines(report)) == 5


def test_the_command_measures_what_lacks_and_writes_its_findings(
    tmp_path: Path, device: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "table.jsonl", tmp_path / "found"
    file = tmp_path / "named.yaml"
    file.write_text(MOBILENET.to_yaml())
    command = ["--space", "mnasnet", "--networks", "9", "--arch", str(file)]
    command += ["--table", str(table), "--out", str(out), "--min-rounds", "2"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "networks, none of them fitted on:" in said
    assert "MAPE 0.00%" in said
    found = json.loads((out / "validation.json").read_text())
    assert [network["name"] for network in found["networks"]][-1] == "mobilenet_v1"
    assert found["prediction"]["worst"] < 1e-6
    assert found["alone"]["bias"] > 0.05
    assert (out / "scatter.png").read_bytes().startswith(b"\x89PNG")
    held = table.read_bytes()
    assert main(command) == 0
    assert table.read_bytes() == held


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to validate on; give --space, --seeds, --seed or --arch"),
        (["--seed", "mobilnet_v2"], "did you mean mobilenet_v2"),
        (["--space", "mnasnet", "--networks", "0"], "--networks must be one number in 1..10000"),
        (["--seed", "mobilenet_v2", "--threads", "0"], "threads must be an integer"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_exit_code_2(
    tmp_path: Path,
    device: Any,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert main(["--table", str(tmp_path / "table.jsonl"), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.iterdir())
