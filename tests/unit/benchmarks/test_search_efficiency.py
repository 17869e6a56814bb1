"""Searches among known networks, and the two problems of the project."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.search_efficiency import SAMPLERS, main, run_searches
from benchmarks.search_problems import given_problem, own_problem
from benchmarks.tabular_spaces import SPACES, cells_space
from latency.console import Terminal


@pytest.mark.parametrize("name", SPACES)
def test_every_network_of_our_own_problems_is_known(name: str) -> None:
    known = own_problem(name)
    assert len(known.networks) == known.space.size
    assert 0.5 < known.accuracies.min() < known.accuracies.max() < 0.95
    assert all(slower > faster for faster, slower in pairwise(known.targets_ms()))


def test_regret_falls_to_the_known_best() -> None:
    known = own_problem("stages")
    found = run_searches(
        [known], ["random", "lookup_aware"], seeds=1, trials=12, workers=1, terminal=Terminal()
    )
    # A soft target stands for all; hard ones are three.
    assert len(found) == 2 * (1 + 3)
    for curves in found.values():
        assert curves.shape == (1, 12)
        assert (np.diff(curves) <= 0).all()
        assert (curves >= 0).all()
    problem = known.problem("hard", known.targets_ms()[0])
    best = problem.objective(known.accuracies, known.latencies_ms).max()
    base = problem.row(known.space.base_choices)[0]
    place = (known.networks == base).all(axis=1)
    first = problem.objective(known.accuracies[place], known.latencies_ms[place])[0]
    assert found["stages", "hard", 0, "random"][0, 0] == pytest.approx(best - first)


def test_a_problem_from_outside_may_know_some_networks_alone(tmp_path: Path) -> None:
    space = cells_space()
    rng = np.random.default_rng(0)
    rows = [
        {**space.choices_at(row), "score": 100 * accuracy}
        for row, accuracy in zip(space.sample_indices(40, rng), rng.uniform(size=40), strict=True)
    ]
    pd.DataFrame(rows).to_json(tmp_path / "known.json", orient="records")
    name = "benchmarks.tabular_spaces.cells_space"
    known = given_problem(name, tmp_path / "known.json", None, column="score", percent=True)
    assert len(known.networks) <= 40
    madds = known.problem("soft", 1.0).costs.madds(known.networks)
    assert known.latencies_ms == pytest.approx(madds / 1e6, rel=1e-6)
    found = run_searches([known], SAMPLERS, seeds=1, trials=5, workers=1, terminal=Terminal())
    assert {curves.shape for curves in found.values()} == {(1, 5)}


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--space", "benchmarks.tabular_spaces.cells_space"]) == 2
    assert "--space and --accuracies belong together" in capsys.readouterr().err
