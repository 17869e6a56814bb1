"""What importing a package may load: a device that only measures has neither torch nor optuna."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "optuna")
REPOSITORY = Path(__file__).parents[2]


LIGHT = (
    "search_spaces",
    "latency",
    "latency.table",
    "latency.plan_command",
    "latency.measure",
    "netadapt.proposals",
)


@pytest.mark.parametrize("package", LIGHT)
def test_import_loads_neither_torch_nor_optuna(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"there is no package {package} yet")
    loaded = _modules_after(f"import {package}")
    assert package in loaded
    assert not set(HEAVY) & loaded


def test_build_model_loads_torch_when_it_is_asked_for() -> None:
    assert "torch" in _modules_after("from search_spaces import build_model")


def test_building_a_graph_and_its_costs_need_no_torch() -> None:
    loaded = _modules_after(
        "import search_spaces as s; a = s.load_seed('mobilenet_v3_small'); "
        "s.build_onnx(a); s.count_costs(a); s.Architecture.from_yaml(a.to_yaml())"
    )
    assert "onnx" in loaded
    assert not set(HEAVY) & loaded


def _modules_after(code: str) -> set[str]:
    code = f"{code}; import sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))
