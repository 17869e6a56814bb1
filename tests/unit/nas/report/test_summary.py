"""The summary: what it is called met by, and that its text has every figure with its units."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
import torch

from latency.fidelity import fidelity
from latency.table import Validation
from nas.report.summary import environment_rows, processor_name, summary_lines

MakeSummary = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("predicted_ms", "measured_ms", "verdict"),
    [
        (9.0, 9.0, "met"),
        (9.0, 10.0, "met"),
        (9.0, 10.001, "missed"),
        (11.0, 9.9, "met"),
        (11.0, 11.0, "missed"),
    ],
)
def test_the_verdict_is_about_the_measured_latency_of_the_file(
    make_summary: MakeSummary, predicted_ms: float, measured_ms: float, verdict: str
) -> None:
    summary = make_summary(predicted_ms, measured_ms)
    assert summary["verdict"] == verdict
    assert verdict.upper() in "\n".join(summary_lines(summary, "runs/x"))


def test_every_figure_is_in_the_summary(make_summary: MakeSummary) -> None:
    summary = make_summary()
    assert summary["latency"] == {
        "target_ms": 10.0,
        "predicted_ms": 9.5,
        "measured_ms": 9.8,
        "undisturbed_ms": pytest.approx(9.6),
        "interval": 0.012,
        "runs": 480,
        "table_validation": None,
        "reachable_ms": [6.0, 10.0],
        "finalists": [{"trial": 7, "predicted_ms": 9.5, "undisturbed_ms": 9.0, "measured_ms": 9.1}],
    }
    assert summary["accuracy"] == {
        "proxy_validation": 0.92,
        "validation": 0.955,
        "test": 0.943,
        "tests": 1,
    }
    assert summary["data"] == {
        "name": "digits",
        "train_images": 6,
        "validation_images": 3,
        "test_images": 2,
        "preprocessing": {"mean": [0.25] * 3, "std": [0.5] * 3, "crop": 1.0},
        "proxy_resolution": 24,
        "resolution": 48,
    }
    search = summary["search"]
    assert (search["space"], search["space_size"], search["trials"]) == ("small", 64.0, 20)
    assert (search["winner"], search["reward"], search["seed"]) == (7, 0.91, 3)
    assert search["choices"]["second.kernel"] == 3
    # The stem, 12 inverted residuals, the head at two widths, and two boundaries.
    assert (search["table"], search["table_entries"]) == ("small.jsonl", 17)
    block = 8 * 16 + 2 * 16 + 16 * 9 + 2 * 16 + 16 * 8 + 2 * 8
    assert summary["network"]["params"] == 3 * 9 * 8 + 2 * 8 + 2 * block + 8 * 10 + 10
    assert summary["network"]["logit_difference"] == 2e-6
    environment = summary["environment"]
    assert environment["device"]["cpu"] == "a <fast> CPU"
    assert (environment["threads"], environment["batch"]) == (2, 1)
    assert (environment["precision"], environment["runtime"]) == ("fp32", "onnxruntime")
    assert (environment["runtime_version"], environment["provider"]) == (
        "1.22.0",
        "CPUExecutionProvider",
    )
    assert environment["python"] == platform.python_version()
    assert torch.__version__.startswith(environment["versions"]["torch"].split("+")[0])


def test_the_summary_is_plain_data(make_summary: MakeSummary) -> None:
    summary = make_summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_the_text_says_what_was_measured_how(make_summary: MakeSummary) -> None:
    text = "\n".join(summary_lines(make_summary(), "runs/small_10ms"))
    for part in (
        "small_10ms on a <fast> CPU",
        "trial 7, 20 evaluated",
        "validation 92.0% after proxy training at 24×24, 95.5% trained, at 48×48",
        "test 94.3% (once, 2 images of digits at 48×48)",
        "target 10.00 ms, predicted 9.50 ms, measured 9.80 ms: MET",
        "median of 480 runs; undisturbed, which is what the table counts, 9.60 ms ±1.2%",
        "runs/small_10ms/: best.onnx, best.pt",
    ):
        assert part in text


def test_a_gpu_is_called_by_its_name(make_summary: MakeSummary) -> None:
    summary = make_summary()
    summary["environment"]["device"] = {"system": "Linux", "gpu": "a <fast> GPU"}
    assert summary_lines(summary, "runs/x")[0] == "small_10ms on a <fast> GPU"


def test_the_text_says_how_the_table_was_validated(make_summary: MakeSummary) -> None:
    summary = make_summary()
    prediction = fidelity([1.02, 1.96, 3.0], [1.0, 2.0, 3.0])
    noise = fidelity([1.0, 2.0, 3.0], [1.03, 2.0, 3.0])
    validation = Validation(prediction=prediction, noise=noise)
    summary["latency"]["table_validation"] = asdict(validation)
    text = "\n".join(summary_lines(summary, "runs/small_10ms"))
    assert "MAPE 1.33%, within ±5 % 100.0%" in text
    assert "noise floor: MAPE 0.97%; over 3 other networks of the space" in text


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ({"cpu": "a <fast> CPU", "gpu": "H100"}, "H100"),
        ({"cpu": "a <fast> CPU"}, "a <fast> CPU"),
        ({"system": "Linux"}, "an unnamed processor"),
        ({"cpu": "\x1b[2J"}, r"'\x1b[2J'"),
        ({"cpu": ["two"]}, "['two']"),
    ],
)
def test_what_measured_has_a_name_whatever_its_table_says(
    device: dict[str, Any], name: str
) -> None:
    assert processor_name(device) == name


def test_the_environment_says_what_figures_depend_on(make_summary: MakeSummary) -> None:
    environment = make_summary()["environment"]
    rows = dict(environment_rows(environment, environment["device"]))
    assert rows["processor"] == rows["cpu"] == "a <fast> CPU"
    assert rows["runtime"] == "onnxruntime 1.22.0 CPUExecutionProvider"
    assert (rows["precision"], rows["threads"], rows["batch"]) == ("fp32", "2", "1")
    assert rows["Python"] == platform.python_version()
    # Tables that somebody brought may lack some of it.
    lacking = environment | {"runtime": None, "runtime_version": None, "provider": None}
    assert "runtime" not in dict(environment_rows(lacking, {"governor": None, "gpu": "H100"}))
    assert dict(environment_rows(lacking, {"governor": None, "gpu": "H100"}))["processor"] == "H100"
