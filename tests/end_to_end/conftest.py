"""Runs ``python -m nas.search`` as a person would, on a space small enough for a test."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = Path(__file__).resolve().parent / "plugin"

Command = Callable[..., list[str]]


@pytest.fixture
def search_command(tmp_path: Path) -> Command:
    """``search_command("trials=3")`` → the arguments of a small search in ``tmp_path``.

    It works in threads, unless told otherwise: a process of its own would import all again.
    """

    def command(*overrides: str) -> list[str]:
        executor = [] if any(o.startswith("executor=") for o in overrides) else ["executor=threads"]
        return [
            sys.executable, "-m", "nas.search", "--config-dir", str(PLUGIN),
            "+target_latency=50ms", "space=tiny", "name=run", "resolution=32",
            f"runs={tmp_path}/runs", f"table={tmp_path}/table.jsonl",
            "trials=3", "evaluator.settings.epochs=1", "final.epochs=1", *executor, *overrides,
        ]  # fmt: skip

    return command


@pytest.fixture
def environment() -> dict[str, str]:
    """The plug-in can be imported, and torch does not fight over the cores."""
    paths = [str(ROOT), str(PLUGIN), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def run_command(
    environment: dict[str, str],
) -> Callable[[list[str]], subprocess.CompletedProcess[str]]:
    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
        )

    return run
