import csv
from pathlib import Path

import optuna
import pytest

from benchmarks import environment, search_overhead
from benchmarks.search_overhead import Storages, Timed, figures_of, main, measure, print_verdict
from latency.console import Terminal
from nas.storage import open_storage


def timed(ask: float, tell: float) -> Timed:
    return Timed(ask=ask, tell=tell, cpu=ask)


def test_figures_are_medians_over_rounds_and_ratios_within_one() -> None:
    rounds = [
        (timed(10.0, 2.0), timed(30.0, 6.0)),
        (timed(20.0, 5.0), timed(90.0, 10.0)),
        (timed(30.0, 3.0), timed(60.0, 6.0)),
    ]
    figures = figures_of("sqlite", "tpe", 100, rounds)
    assert (figures.ask_ms, figures.tell_ms, figures.trial_ms) == (20.0, 3.0, 25.0)
    assert (figures.cpu_ms, figures.optuna_ms) == (20.0, 66.0)
    assert figures.speedup == 3.0  # of 3, 4 and 2
    assert (figures.trials, figures.rounds) == (100, 3)


def test_both_ways_make_whole_trials_of_one_study_after_the_history_asked_for(
    tmp_path: Path,
) -> None:
    ours = open_storage(None, tmp_path / "study.db")
    plain = optuna.storages.get_storage(f"sqlite:///{tmp_path}/study.db")
    storages = Storages(name="sqlite", ours=ours, optunas=plain)
    seen: list[tuple[int, int]] = []
    found = list(
        measure(storages, ["random"], [5, 0], rounds=1, update=lambda *now: seen.append(now))
    )
    assert [(figures.sampler, figures.trials) for figures in found] == [
        ("random", 0),
        ("random", 5),
    ]
    assert all(figures.trial_ms > 0 and figures.optuna_ms > 0 for figures in found)
    assert seen == [(done, 9) for done in range(1, 10)]
    (summary,) = optuna.get_all_study_summaries(plain)
    trials = optuna.load_study(study_name=summary.study_name, storage=plain).trials
    assert len(trials) == 4 + 1 + 4
    assert all(len(trial.params) == 41 and "result" in trial.user_attrs for trial in trials)
    ours.close()


@pytest.mark.parametrize(
    ("sampler", "aim_ms", "trial_ms", "verdict"),
    [
        ("tpe", 50, 49.0, "met"),
        ("tpe", 50, 51.0, "MISSED"),
        ("lookup_aware", 300, 299.0, "met"),
        ("lookup_aware", 300, 301.0, "MISSED"),
    ],
)
def test_the_verdict_is_where_the_history_is_longest(
    sampler: str,
    aim_ms: int,
    trial_ms: float,
    verdict: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cases = ((sampler, 0, 999.0), ("random", 9, 999.0), (sampler, 9, trial_ms - 1))
    found = [
        figures_of("sqlite", name, level, [(timed(ask, 1.0), timed(99.0, 1.0))])
        for name, level, ask in cases
    ]
    print_verdict(found, Terminal())
    printed = capsys.readouterr().out
    aim = f"aim: {aim_ms} ms a trial with {sampler} after 9 trials in sqlite: {verdict}\n"
    assert printed == aim


def test_the_command_records_a_row_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "RESULTS", tmp_path)
    chosen = ["--sampler", "lookup_aware", "--sampler", "tpe"]
    assert main(["--trials", "0", "1", "--rounds", "1", "--record", *chosen]) == 0
    assert "recorded in" in capsys.readouterr().out
    with (tmp_path / "search_overhead.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["storage"], row["sampler"], row["trials"]) for row in rows] == [
        ("sqlite", "lookup_aware", "0"),
        ("sqlite", "tpe", "0"),
        ("sqlite", "lookup_aware", "1"),
        ("sqlite", "tpe", "1"),
    ]
    assert all("optuna=" in row["versions"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be 1 or more, but got 0"),
        (["--trials", "-1"], "--trials must be 0 or more, but got -1"),
        (["--postgres", "mysql://me:secret@db/s", "--trials", "0"], "storage must be sqlite:///"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_overhead, "SAMPLERS", [])
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("benchmarks.search_overhead: error: ")
    assert error.count("\n") == 1
    assert message in error
    assert "secret" not in error
