"""What NetAdapt's steps say is saved, beside what the clock says."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.netadapt_savings import Figures, main, print_figures, shave
from latency.console import Update
from search_spaces import load_seed

FIGURES = Figures(
    seed="mnasnet_a1", seed_ms=6.0, steps=13, share=0.8, interval=0.005, predicted_ms=1.15,
    measured_ms=1.2, least_delta=1.01, proposals=60, propose_ms=12.0,
)  # fmt: skip


def test_agreement_is_predicted_over_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert FIGURES.agreement == pytest.approx(1.15 / 1.2)
    print_figures([FIGURES, replace(FIGURES, predicted_ms=1.0)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "mnasnet_a1" in line]
    assert ["yes" in line for line in lines] == [True, False]


def test_a_small_seed_is_shaved_by_steps_of_delta(tmp_path: Path, silent: Update) -> None:
    options = argparse.Namespace(share=0.9, delta=0.03, random_seed=0)
    found = shave(load_seed("mobilenet_v3_small", 0.35, 32), tmp_path, options, silent)
    assert 1 <= found.steps <= 4
    assert found.least_delta >= 1
    assert found.predicted_ms >= found.steps * 0.03 * found.seed_ms
    assert found.proposals >= 1


@pytest.mark.parametrize("option", ["--share=1", "--delta=0"])
def test_impossible_options_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == 2
    assert option.split("=")[0] in capsys.readouterr().err
