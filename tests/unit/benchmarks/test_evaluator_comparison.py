import csv
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environment
from benchmarks.evaluator_comparison import Found, main, print_verdict
from latency.console import Terminal


def _found(reward: float) -> Found:
    return Found(
        trials=3,
        preparation_s=1.0,
        seconds=2.0,
        searched_accuracy=0.9,
        latency_ms=5.0,
        accuracy=0.8,
        reward=reward,
    )


def test_both_search_as_long_and_their_winners_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    small = ["--seeds", "1", "--trials", "2", "--resolution", "8", "--trainings", "1"]
    assert main([*small, "--final-epochs", "1", "--supernet-epochs", "1", "--record"]) == 0
    printed = capsys.readouterr().out
    assert "better in the same time: " in printed
    with (tmp_path / "evaluator_comparison.csv").open(newline="") as file:
        proxy, supernet = csv.DictReader(file)
    assert [row["evaluator"] for row in (proxy, supernet)] == ["proxy", "supernet"]
    assert proxy["trials"] == "2"
    assert float(proxy["preparation_s"]) < float(supernet["preparation_s"])
    for row in (proxy, supernet):
        assert float(row["reward"]) > 0
        assert 0 <= float(row["accuracy"]) <= 1


@pytest.mark.parametrize(
    ("rewards", "verdict"),
    [
        ([(0.9, 0.8), (0.9, 0.86)], "proxy, by 7.00 ± 3.00 points of reward"),
        ([(0.8, 0.9), (0.9, 0.88)], "supernet, by 4.00 ± 6.00 points of reward"),
    ],
)
def test_the_verdict_is_the_mean_gain(
    rewards: list[tuple[float, float]], verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    every: list[dict[str, Any]] = [
        {"proxy": _found(proxy), "supernet": _found(supernet)} for proxy, supernet in rewards
    ]
    print_verdict(every, Terminal())
    assert f"better in the same time: {verdict}" in capsys.readouterr().out


def test_a_mistake_is_answered_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--final-epochs", "0"]) == 2
    error = capsys.readouterr().err
    assert "--final-epochs must be 1 or more, but got 0" in error
    assert error.count("\n") == 1
