"""Every number that a training printed, as plain data and as text."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from latency.table import Entry
from nas.report.summary import package_versions, processor_name, times_looked
from nas.train_setup import TrainRun
from nas.training.full import CHECKPOINT, Keep
from nas.units import verdict
from search_spaces import Architecture, count_costs


def build_summary(
    run: TrainRun,
    architecture: Architecture,
    made: Mapping[str, Any],
    measured: Entry | None,
    described: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What ``summary.json`` holds. Without a target or a clock there is no verdict.

    Args:
        run: what was asked for.
        architecture: what was trained.
        made: what ``LastStage.make`` found.
        measured: the latency of ``best.onnx``, where it was measured.
        described: what measured it, as ``Device.describe`` says.
    """
    costs, training, target_ms = count_costs(architecture), run.training, run.target_ms
    return {
        "name": run.name,
        "verdict": _verdict(target_ms, measured),
        "network": {
            "name": architecture.name,
            "madds": costs.madds,
            "params": costs.params,
            "peak_activation_bytes": costs.peak_activation_bytes,
            "weights": None if run.weights is None else str(run.weights),
            "logit_difference": made["logit_difference"],
        },
        "accuracy": {
            "validation": made["validation_accuracy"],
            "test": made["test_accuracy"],
            "tests": made["tests"],
        },
        "latency": {
            "target_ms": target_ms,
            "measured_ms": None if measured is None else measured.median_ms,
            "undisturbed_ms": None if measured is None else measured.latency_ms,
            "interval": None if measured is None else measured.interval,
            "runs": None if measured is None else measured.runs,
        },
        "data": _data(run, architecture.resolution),
        "training": {
            **asdict(training.settings),
            "seed": training.seed,
            "keep": training.keep.value,
            "epoch": made["epoch"],
        },
        "environment": {
            **(described or {"device": None}),
            "threads": run.measure.threads,
            "batch": run.measure.batch,
            "precision": str(run.measure.precision),
            "python": platform.python_version(),
            "versions": package_versions(),
        },
        "command": run.command,
    }


def _verdict(target_ms: float | None, measured: Entry | None) -> str | None:
    if target_ms is None or measured is None:
        return None
    return verdict(measured.median_ms, target_ms)


def _data(run: TrainRun, resolution: int) -> dict[str, Any]:
    data = run.data
    return {
        "name": data.name,
        "classes": list(data.class_names),
        "train_images": len(data.train),
        "validation_images": len(data.validation),
        "test_images": len(data.test),
        "preprocessing": data.preprocessing.as_dict(),
        "resolution": resolution,
        "notes": list(data.notes),
    }


def summary_lines(summary: Mapping[str, Any], folder: str) -> list[str]:
    """The summary as a person reads it in a terminal."""
    network, accuracy, data = summary["network"], summary["accuracy"], summary["data"]
    training, device = summary["training"], summary["environment"]["device"]
    size = f"{data['resolution']}×{data['resolution']}"
    best = "the best" if training["keep"] == Keep.BEST else "the last"
    average = "" if training["ema_decay"] is None else ", averaged weights"
    files = f"best.onnx, best.pt, best.yaml, report.html, summary.json, log.csv, {CHECKPOINT}"
    return [
        summary["name"] if device is None else f"{summary['name']} on {processor_name(device)}",
        f"  network    {network['name']}: {network['madds'] / 1e6:.1f} M MAdds, "
        f"{network['params'] / 1e6:.2f} M parameters",
        f"  accuracy   validation {accuracy['validation']:.1%} after epoch {training['epoch']} of "
        f"{training['epochs']}, {best}{average}",
        f"             test {accuracy['test']:.1%} ({times_looked(accuracy['tests'])}, "
        f"{data['test_images']} images of {data['name']} at {size})",
        *_latency_lines(summary["latency"], summary["verdict"]),
        f"  files      {folder}/: {files}",
    ]


def _latency_lines(latency: Mapping[str, Any], said: str | None) -> list[str]:
    target = None if latency["target_ms"] is None else f"target {latency['target_ms']:.2f} ms"
    if latency["measured_ms"] is None:
        return [] if target is None else [f"  latency    {target}, not measured (timed=false)"]
    measured = f"measured {latency['measured_ms']:.2f} ms"
    return [
        f"  latency    {measured if target is None else f'{target}, {measured}'}"
        f"{'' if said is None else f': {said.upper()}'}",
        f"             (best.onnx end to end, median of {latency['runs']} runs; undisturbed "
        f"{latency['undisturbed_ms']:.2f} ms ±{latency['interval']:.1%})",
    ]
