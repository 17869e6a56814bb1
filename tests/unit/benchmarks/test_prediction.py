from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import prediction
from benchmarks.prediction import Figures, count_equal, main, print_figures, synthetic_table
from latency.console import Terminal
from latency.table import LatencyTable
from search_spaces.spaces import mobilenet_v3_space

FIGURES = Figures(
    setup_ms=250.0, batch_per_s=2e6, scalar_per_s=1e3, speedup=2e3, compared=9, equal=9
)


def test_both_ways_are_compared_network_by_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "SCALAR_NETWORKS", 8)
    space = mobilenet_v3_space(resolution=32, num_classes=10)
    table = synthetic_table(space)
    indices = space.sample_indices(20, np.random.default_rng(0))
    assert count_equal(space, table, indices, Terminal()) == 20
    # Of the scalar way one network in two is off by a picosecond.
    exact = LatencyTable.network_latency_ms
    calls = iter(range(20))
    monkeypatch.setattr(
        LatencyTable,
        "network_latency_ms",
        lambda table, network: exact(table, network) + next(calls) % 2 * 1e-9,
    )
    assert count_equal(space, table, indices, Terminal()) == 10


@pytest.mark.parametrize(
    ("figures", "verdict"),
    [
        (FIGURES, "met"),
        (replace(FIGURES, batch_per_s=9e5), "missed"),
        (replace(FIGURES, equal=8), "missed"),
    ],
)
def test_the_aim_is_speed_and_equality(
    figures: Figures, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_figures(figures, Terminal())
    assert capsys.readouterr().out.rstrip().endswith(f"networks a second, and all equal: {verdict}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more, but got 0"),
        (["--table", "none.jsonl"], "No such file or directory: 'none.jsonl'"),
        (["--resolution", "0"], "resolution must be in 1..4096, but got 0"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.prediction: error: ")
    assert error.count("\n") == 1
    assert message in error
