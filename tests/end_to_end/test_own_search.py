"""A space, a sampler and an evaluator from one file outside the package: docs/search.md."""

import re
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_of_the_docs_runs(
    tmp_path: Path, search_command: Any, environment: Any, run_command: Any
) -> None:
    (example,) = re.findall(r"```python\n# plugin/mine\.py\n(.*?)```", _docs(), re.DOTALL)
    (tmp_path / "mine.py").write_text(example)
    environment["PYTHONPATH"] += f":{tmp_path}"
    command = [word for word in search_command() if not word.startswith(("space=", "evaluator."))]
    own = ["space=mine", "sampler=mine", "evaluator=mine", "handover=false", "trials=4"]
    done = run_command([*command, *own])
    assert done.returncode == 0, done.stderr
    trials = pd.read_csv(tmp_path / "runs/run/trials.csv")
    # The base network first, then the fastest that was not tried.
    assert set(trials["stage1.expansion"]) == {2, 3, 4, 6}
    assert trials["latency_ms"][1:].is_monotonic_increasing
    assert (trials["accuracy"] == trials["stage1.expansion"] / 10).all()


def _docs() -> str:
    return (ROOT / "docs/search.md").read_text()
