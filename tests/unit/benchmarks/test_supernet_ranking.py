"""The figures of the ranking benchmark, on accuracies made by hand and on a tiny run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import rank_agreement, supernet_experiment, supernet_ranking, supernet_steps
from benchmarks.elastic_space import elastic_space
from benchmarks.rank_agreement import Accuracies, Ranking, noise, rank
from benchmarks.supernet_experiment import Experiment, time_supernet
from benchmarks.supernet_ranking import cost_in_trainings, figures, main, print_figures
from benchmarks.supernet_steps import StepTimes
from latency.console import Terminal
from nas.data.digits import digits_data
from nas.supernet import SupernetSettings
from nas.supernet.sampling import largest_choices, smallest_choices
from nas.training import TrainSettings
from search_spaces import count_costs

TINY = ["--networks", "4", "--epochs", "1", "--supernet-epochs", "1", "--steps", "2"]
TINY += ["--resolution", "4"]

TIMES = StepTimes(steps=40, networks=4, step_ms=30.0, alone_ms=10.0, ratio=0.9, low=0.8, high=1.0)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_agreement, "RESAMPLES", 100)


def _found(alone: list[list[float]], supernet: list[float]) -> Accuracies:
    madds = np.arange(len(supernet), dtype=np.float64)
    return Accuracies(alone=np.array(alone), supernet=np.array(supernet), madds=madds)


def test_tau_counts_pairs_in_order_less_pairs_out_of_order() -> None:
    # Of six pairs the supernet has one out of order with the first training (the middle one), and
    # with their mean; the second training is in the reverse order of the first.
    found = _found([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], [0.5, 0.7, 0.6, 0.8])
    ranking = rank(replace(found, alone=found.alone * np.array([[10.0], [1.0]])))
    assert ranking.supernet_mean.value == pytest.approx(4 / 6)
    assert ranking.supernet_one.value == pytest.approx(0)
    assert ranking.alone_one.value == pytest.approx(-1)
    assert ranking.madds_mean.value == pytest.approx(1)


def test_intervals_hold_their_figure_and_narrow_with_networks() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for networks in (20, 200):
        true = rng.normal(size=networks)
        alone = true + 0.5 * rng.normal(size=(2, networks))
        ranking = rank(_found(alone.tolist(), (true + 0.5 * rng.normal(size=networks)).tolist()))
        for interval in (ranking.supernet_mean, ranking.supernet_one, ranking.alone_one):
            assert -1 <= interval.low < interval.value < interval.high <= 1
        widths.append(ranking.supernet_mean.high - ranking.supernet_mean.low)
    assert widths[1] < 0.5 * widths[0]


def test_noise_is_that_of_a_training() -> None:
    rng = np.random.default_rng(0)
    alone = rng.normal(size=500) + 0.3 * rng.normal(size=(2, 500))
    assert noise(alone) == pytest.approx(0.3, rel=0.1)


def test_the_elastic_space_is_as_its_docstring_says() -> None:
    space = elastic_space()
    assert space.size == 4_251_528
    smallest, largest = (
        count_costs(space.build(choose(space))).madds
        for choose in (smallest_choices, largest_choices)
    )
    assert (smallest, largest) == (80_800, 1_576_640)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(
        space=elastic_space(resolution=8),
        data=digits_data(validation_share=0.45, test_share=0.45).for_search(),
        networks=4,
        seeds=2,
        resolution=8,
        alone=TrainSettings(epochs=5, batch_size=32),
        supernet=SupernetSettings(train=TrainSettings(epochs=10, batch_size=32), samples=1),
        seed=0,
    )


def test_a_step_is_held_against_the_steps_of_its_networks(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[str] = []

    def seconds(step: Callable[[torch.Tensor], None], chosen: torch.Tensor) -> float:
        step(chosen)
        timed.append(step.__name__)
        return 6.0 if step.__name__ == "train_on" else 2.0

    monkeypatch.setattr(supernet_steps, "_seconds", seconds)
    times = time_supernet(experiment, 3, Terminal())
    assert (times.steps, times.networks, times.step_ms, times.alone_ms) == (3, 3, 6000, 2000)
    assert times.low == times.ratio == times.high == 1.0
    together, alone = "train_on", ["step"] * 3
    assert timed == [together, *alone, *alone, together, together, *alone]


def test_costs_are_in_trainings_of_a_network(experiment: Experiment) -> None:
    # Twice as many epochs, of steps three times as long.
    assert cost_in_trainings(experiment, TIMES) == pytest.approx(6)


@pytest.mark.parametrize(
    ("supernet", "ratio", "ranks", "costs"),
    [
        ([0.1, 0.2, 0.3, 0.4], 1.15, "met", "met"),
        ([0.4, 0.3, 0.2, 0.1], 1.16, "missed", "missed"),
    ],
)
def test_aims_are_told(
    experiment: Experiment,
    supernet: list[float],
    ratio: float,
    ranks: str,
    costs: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _found([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3]], supernet)
    times = replace(TIMES, ratio=ratio)
    print_figures(experiment, found, rank(found), times, Terminal())
    *_, ranking, cost = capsys.readouterr().out.splitlines()
    assert ranking.endswith(f"noise allows: {ranks}")
    assert cost.endswith(f"at most: {costs}")


def test_what_noise_allows_is_enough(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = _found([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]], [0.2, 0.1, 0.4, 0.3])
    ranking: Ranking = rank(noisy)
    assert ranking.supernet_one.value > ranking.alone_one.value
    print_figures(experiment, noisy, ranking, TIMES, Terminal())
    assert "noise allows: met" in capsys.readouterr().out


def test_a_row_says_what_was_done_and_found(experiment: Experiment) -> None:
    found = _found([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3]], [0.1, 0.2, 0.3, 0.4])
    row = figures(experiment, found, rank(found), TIMES)
    assert (row["networks"], row["epochs"], row["supernet_epochs"]) == ("4", "5", "10")
    assert row["tau_alone_one"] == f"{4 / 6:.4g}"
    assert float(row["tau_supernet_mean_low"]) <= float(row["tau_supernet_mean"])
    assert (row["step_ratio"], row["cost_in_trainings"]) == ("0.9", "6")


def test_a_run_that_was_stopped_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[int] = []
    make = supernet_experiment.ProxyEvaluator

    class Counted(make):  # type: ignore[misc, valid-type]
        def evaluate(self, *arguments: object) -> object:
            trained.append(1)
            if len(trained) == 3:
                raise KeyboardInterrupt
            return super().evaluate(*arguments)

    monkeypatch.setattr(supernet_experiment, "ProxyEvaluator", Counted)
    assert main([*TINY, "--out", str(tmp_path)]) == 130
    kept = (tmp_path / "alone.csv").read_text()
    assert [line.split(",")[:2] for line in kept.splitlines()] == [["0", "0"], ["0", "1"]]
    (tmp_path / "alone.csv").write_text(kept + "1,0,0.9")  # torn: it was 0.95
    assert main([*TINY, "--out", str(tmp_path)]) == 0
    assert len(trained) == 3 + 6
    assert "4 networks of elastic, Kendall's τ" in capsys.readouterr().out
    assert main([*TINY, "--out", str(tmp_path), "--learning-rate", "0.1"]) == 2
    assert "holds trainings with learning_rate=0.05, but now it is 0.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--networks", "3"], "--networks must be 4 or more, but got 3"),
        (["--seeds", "1"], "--seeds must be 2 or more, but got 1"),
        (["--steps", "1"], "--steps must be 2 or more, but got 1"),
        (["--epochs", "0"], "TrainSettings.epochs must be an integer in 1..100000, but got 0"),
        (["--samples", "-1"], "SupernetSettings.samples must be an integer in 0..1000"),
        (["--resolution", "0"], "resolution must be in 1..4096, but got 0"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.supernet_ranking: error: ")
    assert error.count("\n") == 1
    assert message in error


def test_nothing_is_recorded_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernet_ranking, "append_row", pytest.fail)
    monkeypatch.setattr(supernet_ranking, "measure", lambda *_: _found([[1.0] * 4] * 2, [1.0] * 4))
    monkeypatch.setattr(supernet_ranking, "time_supernet", lambda *_: TIMES)
    assert main([*TINY, "--out", str(tmp_path)]) == 0
