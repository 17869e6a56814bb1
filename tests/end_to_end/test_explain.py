"""``python -m latency.explain`` as a person runs it, on this machine, with small images."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RunCommand = Callable[[list[str]], subprocess.CompletedProcess[str]]
QUICK = ["--resolution", "32", "--runs", "3", "--min-rounds", "1", "--max-rounds", "1"]


@pytest.fixture
def explain(run_command: RunCommand, tmp_path: Path) -> RunCommand:
    def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
        here = ["--table", f"{tmp_path}/table.jsonl", "--out", f"{tmp_path}/out", *QUICK]
        return run_command([sys.executable, "-m", "latency.explain", *arguments, *here])

    return run


def test_two_networks_are_explained_and_traced_once(explain: RunCommand, tmp_path: Path) -> None:
    arguments = ["arch=mobilenet_v3_small", "--seed", "shufflenet_v1_g3"]
    first = explain(arguments)
    assert first.returncode == 0, first.stderr
    assert "mobilenet_v3_small at 32x32: predicted" in first.stdout
    assert (tmp_path / "out/explain.png").read_bytes().startswith(b"\x89PNG")
    networks = json.loads((tmp_path / "out/explain.json").read_text())["networks"]
    assert [network["name"] for network in networks] == ["shufflenet_v1_g3", "mobilenet_v3_small"]
    for network in networks:
        _check_sums(network)
    traces = (tmp_path / "table.trace.jsonl").read_bytes()
    assert traces.count(b'"ops"') == 2
    assert explain(arguments).returncode == 0
    assert (tmp_path / "table.trace.jsonl").read_bytes() == traces


def _check_sums(network: dict[str, Any]) -> None:
    """Of all that the runtime really ran nothing is lost, and nothing is left unrecognised."""
    nodes, kinds = network["nodes"], network["kinds"]
    assert sum(kind["traced_ms"] for kind in kinds) == pytest.approx(network["traced_ms"])
    assert sum(block["traced_ms"] for block in network["blocks"]) == pytest.approx(
        network["traced_ms"]
    )
    assert sum(node["latency_ms"] for node in nodes) == pytest.approx(network["traced_ms"])
    assert sum(kind["madds"] for kind in kinds) == network["madds"]
    assert all(block["kinds_ms"] for block in network["blocks"])
    assert [node for node in nodes if node["kind"] == "other"] == []
    assert {kind["kind"] for kind in kinds if kind["madds"]} <= {node["kind"] for node in nodes}


def test_claims_are_judged(explain: RunCommand, tmp_path: Path) -> None:
    done = explain(["--claims"])
    assert done.returncode == 0, done.stderr
    claims = json.loads((tmp_path / "out/claims.json").read_text())
    assert len(claims) == 13
    for claim in claims:
        network_ms, baseline_ms = claim["measured_ms"]
        assert claim["change_ms"] == pytest.approx(network_ms - baseline_ms)
        assert claim["verdict"] in done.stdout
