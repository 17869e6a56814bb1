"""profile.py runs where there is Python, numpy and onnxruntime, and nothing else."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from latency.keys import network_key
from latency.plan import (
    VALIDATION,
    MeasureSettings,
    entry_builders,
    no_progress,
    steps_of,
    write_plan,
)
from latency.profile import describe
from latency.table import LatencyTable
from search_spaces import load_seed

REPOSITORY = Path(__file__).parents[2]
NETWORK = load_seed("mobilenet_v3_small", resolution=32)
ABSENT = ("torch", "onnx", "pandas", "optuna", "search_spaces", "latency", "nas")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plans") / "small.plan"
    settings = MeasureSettings(runs=3, min_rounds=2, max_rounds=2)
    builders = entry_builders(steps_of([NETWORK]), {NETWORK: VALIDATION}, settings)
    write_plan(path, list(builders.values()), settings, no_progress)
    return path


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment whose only packages are numpy and onnxruntime."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "onnxruntime"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        for part in (package, package.with_name(f"{name}.libs")):
            if part.exists():
                (site / part.name).symlink_to(part)
    return folder / "bin" / "python"


def test_it_needs_numpy_and_onnxruntime_and_nothing_else(
    plan: Path, bare_python: Path, tmp_path: Path
) -> None:
    shutil.copy(REPOSITORY / "latency" / "profile.py", tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for name in ABSENT:
        found = subprocess.run(
            [bare_python, "-c", f"import {name}"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
        )
        assert b"ModuleNotFoundError" in found.stderr, name
    done = subprocess.run(
        [bare_python, "profile.py", plan, "--out", "table.jsonl"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    table = LatencyTable.load(tmp_path / "table.jsonl")
    visits = 2 * (len(table) + 1)  # the whole network twice as often
    assert f"measured {visits}/{visits} visits" in done.stdout
    assert all(entry.rounds == (4 if entry.parts else 2) for entry in table.entries)
    assert network_key(NETWORK) in table
    assert table.network_latency_ms(NETWORK) > 0


def test_it_says_what_the_device_is_without_a_plan(bare_python: Path, tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "latency" / "profile.py", tmp_path)
    done = subprocess.run(
        [bare_python, "profile.py", "--describe"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == describe()


def test_it_runs_from_the_repository_without_hiding_the_standard_librarys_profile(
    plan: Path, tmp_path: Path
) -> None:
    # After the script, -i goes on with what stands on stdin, on the path that the script has left.
    done = subprocess.run(
        [sys.executable, "-i", "latency/profile.py", plan, "--out", tmp_path / "table.jsonl"],
        cwd=REPOSITORY,
        input="import cProfile, profile as standard; print('profile is', standard.__file__)\n",
        capture_output=True,
        text=True,
    )
    assert network_key(NETWORK) in LatencyTable.load(tmp_path / "table.jsonl")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("profile is ")]
    assert not Path(line.removeprefix("profile is ")).is_relative_to(REPOSITORY / "latency")
