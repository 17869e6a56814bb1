"""The summary: its verdict, its intervals, and that it is plain data."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nas.handover import Handover
from nas.report.comparison import read_run
from netadapt.journal import State
from netadapt.report.steps import read_steps
from netadapt.report.summary import accuracy_interval, summarise, summary_lines
from netadapt.setup import NetAdaptRun


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [
        # Newcombe (1998), Table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_that_were_published(
    right: int, images: int, low: float, high: float
) -> None:
    assert accuracy_interval(right / images, images) == pytest.approx([low, high], abs=6e-5)
    mirrored = accuracy_interval((images - right) / images, images)
    assert mirrored == pytest.approx([1 - high, 1 - low], abs=6e-5)


def test_every_figure_is_in_the_summary(summary: dict[str, Any]) -> None:
    assert summary["verdict"] == "missed"
    # The machine is half as fast as it was when the seed took 10.5 ms.
    assert summary["latency"] == {
        "target_ms": 14.4,
        "seed_ms": 21.0,
        "predicted_ms": pytest.approx(14.0),
        "measured_ms": 14.7,
        "undisturbed_ms": pytest.approx(14.2),
        "interval": 0.012,
        "runs": 96,
        "share_of_seed": 0.7,
        "share_interval": 0.01,
    }
    assert summary["trajectory"] == pytest.approx({"target_ms": 7.2, "best_ms": 7.35})
    assert summary["saved"] == pytest.approx({"predicted_ms": 3.0, "measured_ms": 3.15})
    assert summary["seed"] == {"accuracy": 0.9375, "predicted_ms": 10.5, "measured_ms": 10.5}
    accuracy = summary["accuracy"]
    assert (accuracy["seed_proposals"], accuracy["proposals"]) == (0.9375, 0.8125)
    assert (accuracy["validation"], accuracy["test"], accuracy["tests"]) == (15 / 148, 81 / 263, 1)
    assert accuracy["intervals"]["test"] == pytest.approx([0.2553, 0.3662], abs=6e-5)
    assert accuracy["intervals"]["validation"] == pytest.approx([0.0624, 0.1605], abs=6e-5)
    assert summary["data"] == {
        "name": "digits",
        "proposal_images": 16,
        "validation_images": 148,
        "test_images": 263,
    }
    assert [(step["proposals"], step["infeasible"]) for step in summary["steps"]] == [
        (3, 0),
        (3, 2),
        (3, 1),
    ]
    environment = summary["environment"]
    assert (environment["threads"], environment["batch"], environment["precision"]) == (
        2,
        1,
        "fp32",
    )


def test_the_summary_is_plain_data(summary: dict[str, Any]) -> None:
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


@pytest.mark.parametrize(("target_ms", "verdict"), [(14.7, "met"), (14.69, "missed")])
def test_the_verdict_is_about_the_measured_latency_of_the_file(
    run: NetAdaptRun,
    start: State,
    end: State,
    handover: Handover,
    folder: Path,
    target_ms: float,
    verdict: str,
) -> None:
    end = replace(end, measured_ms=1.0, predicted_ms=1.0)
    steps = read_steps(folder)
    found = summarise(run, start, end, handover, steps, target_ms=target_ms, proposal_images=16)
    assert found["verdict"] == verdict


def test_the_text_says_what_was_measured(summary: dict[str, Any]) -> None:
    text = "\n".join(summary_lines(summary, "runs/x"))
    for part in (
        "<b>shaved</b>, 3 steps",
        "validation 10.1%, test 30.8%, 263 images of digits at 32×32",
        "seed 21.00 ms, target 14.40 ms, predicted 14.00 ms, measured 14.70 ms: MISSED",
        "medians of 96 runs",
        "predicted 3.00 ms in all steps, measured 3.15 ms",
        "runs/x/: best.onnx, best.pt, best.yaml, report.html, summary.json, trajectory.csv, "
        "layers.csv",
    ):
        assert part in text


def test_a_run_can_be_compared_with_others(summary: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    run = read_run(tmp_path)
    assert (run.label, run.kind, run.verdict) == ("<b>shaved</b>", "NetAdapt", "missed")
    assert (run.target_ms, run.predicted_ms, run.measured_ms) == pytest.approx((14.4, 14.0, 14.7))
    assert (run.test_accuracy, run.resolution) == (81 / 263, 32)
    assert run.params == summary["network"]["best"]["params"]
    assert "not recorded" not in run.conditions.values()
