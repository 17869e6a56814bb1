"""A training's summary: when there is a verdict, and that its text says what was measured."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from nas.report.training_summary import summary_lines

MakeSummary = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("measured_ms", "verdict"), [(9.0, "met"), (10.0, "met"), (10.001, "missed")]
)
def test_the_verdict_is_about_the_measured_latency(
    make_training_summary: MakeSummary, measured_ms: float, verdict: str
) -> None:
    summary = make_training_summary(measured_ms, target_ms=10.0)
    assert summary["verdict"] == verdict
    assert (summary["latency"]["target_ms"], summary["latency"]["measured_ms"]) == (
        10.0,
        measured_ms,
    )
    text = "\n".join(summary_lines(summary, "runs/x"))
    assert f"target 10.00 ms, measured {measured_ms:.2f} ms: {verdict.upper()}" in text


@pytest.mark.parametrize(
    ("target_ms", "timed", "line"),
    [
        (None, True, "  latency    measured 9.80 ms"),
        (10.0, False, "  latency    target 10.00 ms, not measured (timed=false)"),
        (None, False, None),
    ],
)
def test_without_target_or_clock_there_is_no_verdict(
    make_training_summary: MakeSummary, target_ms: float | None, timed: bool, line: str | None
) -> None:
    summary = make_training_summary(target_ms=target_ms, timed=timed)
    assert summary["verdict"] is None
    assert summary["latency"]["target_ms"] == target_ms
    assert summary["latency"]["measured_ms"] == (9.8 if timed else None)
    lines = summary_lines(summary, "runs/x")
    assert [each for each in lines if each.startswith("  latency")] == ([line] if line else [])
    assert not any(word in "\n".join(lines) for word in ("MET", "MISSED"))


def test_the_text_says_what_was_found(make_training_summary: MakeSummary) -> None:
    summary = make_training_summary(target_ms=10.0)
    text = "\n".join(summary_lines(summary, "runs/trained"))
    for part in (
        "trained on a <fast> CPU",
        "validation 75.0% after epoch 2 of 3, the best",
        "test 70.0% (once, 10 images of digits at 16×16)",
        "median of 480 runs; undisturbed 9.60 ms ±1.2%",
        "runs/trained/: best.onnx, best.pt, best.yaml, report.html, summary.json, log.csv",
    ):
        assert part in text
    assert summary_lines(make_training_summary(timed=False), "runs/x")[0] == "trained"


def test_the_summary_is_plain_data_and_knows_what_measured(
    make_training_summary: MakeSummary,
) -> None:
    summary = make_training_summary(target_ms=10.0)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    environment = summary["environment"]
    assert (environment["device"]["cpu"], environment["runtime"]) == ("a <fast> CPU", "onnxruntime")
    assert (environment["threads"], environment["precision"]) == (2, "fp32")
    assert summary["data"]["notes"] == ["1 of 71 images cannot be read and is skipped: <a>.png"]
    assert make_training_summary(timed=False)["environment"]["device"] is None
