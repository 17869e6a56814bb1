"""Every number of a run, as plain data and as text."""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from latency.plan import MeasureSettings
from latency.side_by_side import SideBySide
from latency.table import Entry
from nas.handover import Handover
from nas.report.summary import package_versions
from nas.units import verdict
from netadapt.journal import State
from netadapt.report.steps import StepRecord
from netadapt.setup import NetAdaptRun
from search_spaces import Architecture, count_costs


def summarise(
    run: NetAdaptRun,
    start: State,
    end: State,
    handover: Handover,
    steps: Sequence[StepRecord],
    *,
    target_ms: float,
    proposal_images: int,
) -> dict[str, Any]:
    """What ``summary.json`` holds. The verdict is about the measured latency of ``best.onnx``.

    Latencies are of when ``best.onnx`` was measured, ``target_ms`` too. Those of the steps, of the
    trajectory and of what was saved are of when the seed was measured first.

    Args:
        proposal_images: how many images proposals were compared on.
    """
    measured, beside = handover.measured, handover.beside
    assert beside is not None, "it was measured beside the seed"
    change = _change(start, beside)
    images = {
        "proposal_images": proposal_images,
        "validation_images": len(run.data.validation),
        "test_images": len(run.data.test),
    }
    return {
        "name": run.settings.name,
        "verdict": verdict(measured.median_ms, target_ms),
        "latency": _latency(start, end, measured, beside, target_ms),
        "saved": {
            "predicted_ms": sum(step.saved_ms for step in steps),
            "measured_ms": (1 - beside.ratio) * start.measured_ms,
        },
        "accuracy": _accuracy(start, end, handover, images),
        "network": {"seed": _costs(start.architecture), "best": _costs(end.architecture)},
        "trajectory": {"target_ms": change * target_ms, "best_ms": change * measured.median_ms},
        "final": run.settings.final.decisive(),
        "seed": {
            "accuracy": start.accuracy,
            "predicted_ms": start.predicted_ms,
            "measured_ms": start.measured_ms,
        },
        "steps": [step.record() for step in steps],
        "data": {"name": run.data.name, **images},
        "resolution": end.architecture.resolution,
        "proxy_resolution": run.settings.proxy_resolution,
        "device": run.device.describe(),
        "environment": _environment(run.settings.measure),
        "command": run.command,
    }


def _latency(
    start: State, end: State, measured: Entry, beside: SideBySide, target_ms: float
) -> dict[str, Any]:
    """Of when ``best.onnx`` was measured, in turns with the seed."""
    return {
        "target_ms": target_ms,
        "seed_ms": beside.second.median_ms,
        "predicted_ms": end.predicted_ms / _change(start, beside),
        "measured_ms": measured.median_ms,
        "undisturbed_ms": measured.latency_ms,
        "interval": measured.interval,
        "runs": measured.runs,
        "share_of_seed": beside.ratio,
        "share_interval": beside.interval,
    }


def _change(start: State, beside: SideBySide) -> float:
    """What the seed took when the run began, over what it took beside ``best.onnx``."""
    return start.measured_ms / beside.second.median_ms


def _environment(measure: MeasureSettings) -> dict[str, Any]:
    return {
        "threads": measure.threads,
        "batch": measure.batch,
        "precision": str(measure.precision),
        "python": platform.python_version(),
        "versions": package_versions(),
    }


def _accuracy(
    start: State, end: State, handover: Handover, images: Mapping[str, int]
) -> dict[str, Any]:
    """Shares of right answers, and what so many images say of each."""
    found = {
        "seed_proposals": (start.accuracy, images["proposal_images"]),
        "proposals": (end.accuracy, images["proposal_images"]),
        "validation": (handover.validation_accuracy, images["validation_images"]),
        "test": (handover.test_accuracy, images["test_images"]),
    }
    return {
        **{name: accuracy for name, (accuracy, _) in found.items()},
        "intervals": {name: accuracy_interval(*counted) for name, counted in found.items()},
        "tests": handover.tests,
    }


def accuracy_interval(accuracy: float, images: int) -> list[float]:
    """The 95 % interval of a share of right answers on so many images (Wilson's).

    Unlike the usual ±1.96·√(p(1 − p)/n) it stays within 0..1 where nearly all answers are right.
    """
    counted = binomtest(round(accuracy * images), images)
    interval = counted.proportion_ci(confidence_level=0.95, method="wilson")
    return [float(interval.low), float(interval.high)]


def _costs(architecture: Architecture) -> dict[str, int]:
    costs = count_costs(architecture)
    return {"madds": costs.madds, "params": costs.params}


def summary_lines(summary: Mapping[str, Any], folder: str) -> list[str]:
    """The summary as a person reads it in a terminal."""
    latency, accuracy, saved = summary["latency"], summary["accuracy"], summary["saved"]
    seed, best = summary["network"]["seed"], summary["network"]["best"]
    size = summary["resolution"]
    return [
        f"{summary['name']}, {len(summary['steps'])} steps",
        f"  network    {seed['madds'] / 1e6:.1f} → {best['madds'] / 1e6:.1f} M MAdds, "
        f"{seed['params'] / 1e6:.2f} → {best['params'] / 1e6:.2f} M parameters",
        f"  accuracy   validation {accuracy['validation']:.1%}, test {accuracy['test']:.1%}, "
        f"{summary['data']['test_images']} images of {summary['data']['name']} at {size}×{size}",
        f"  latency    seed {latency['seed_ms']:.2f} ms, target {latency['target_ms']:.2f} ms, "
        f"predicted {latency['predicted_ms']:.2f} ms, measured {latency['measured_ms']:.2f} ms: "
        f"{summary['verdict'].upper()}",
        f"             (best.onnx in turns with the seed, medians of {latency['runs']} runs)",
        f"  saved      predicted {saved['predicted_ms']:.2f} ms in all steps, measured "
        f"{saved['measured_ms']:.2f} ms",
        f"  files      {folder}/: best.onnx, best.pt, best.yaml, report.html, summary.json, "
        "trajectory.csv, layers.csv, figures/",
    ]
