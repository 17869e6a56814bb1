"""Every number that a run printed, as plain data and as text."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from latency.fidelity import Fidelity
from latency.table import LatencyTable
from latency.table_report import printable
from nas.handover import Handover
from nas.setup import Search
from nas.winner import Finalist
from search_spaces import count_costs

_PACKAGES = ("chronas", "torch", "onnx", "onnxruntime", "optuna", "numpy", "scikit-learn")


def build_summary(
    search: Search,
    table: LatencyTable,
    winner: Finalist,
    handover: Handover,
    *,
    target_ms: float,
    reachable_ms: tuple[float, float],
    decided_by: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``summary.json`` holds. The verdict is about the measured latency, not the predicted."""
    settings, space, data = search.settings, search.space, search.data
    costs = count_costs(winner.architecture)
    measured, validation = handover.measured, table.validation()
    return {
        "name": settings.name,
        "verdict": "met" if measured.median_ms <= target_ms else "missed",
        "latency": {
            "target_ms": target_ms,
            "predicted_ms": winner.candidate.latency_ms,
            "measured_ms": measured.median_ms,
            "undisturbed_ms": measured.latency_ms,
            "interval": measured.interval,
            "runs": measured.runs,
            "table_validation": None if validation is None else asdict(validation),
            "reachable_ms": list(reachable_ms),
        },
        "accuracy": {
            "proxy_validation": winner.candidate.accuracy,
            "validation": handover.validation_accuracy,
            "test": handover.test_accuracy,
            "tests": handover.tests,
        },
        "data": {
            "name": data.name,
            "train_images": len(data.train),
            "validation_images": len(data.validation),
            "test_images": len(data.test),
            "preprocessing": data.preprocessing.as_dict(),
            "proxy_resolution": settings.proxy_resolution,
            "resolution": winner.architecture.resolution,
        },
        "search": {
            "space": space.name,
            "space_size": float(space.size),
            "trials": decided_by["trials"],
            "winner": winner.candidate.number,
            "choices": winner.candidate.choices,
            "reward": winner.candidate.reward,
            "seed": settings.seed,
            "table": table.source,
            "table_entries": len(table),
        },
        "network": {
            "madds": costs.madds,
            "params": costs.params,
            "memory_access": costs.memory_access,
            "peak_activation_bytes": costs.peak_activation_bytes,
            "logit_difference": handover.logit_difference,
        },
        "environment": {
            "device": table.header["device"],
            "threads": settings.measure.threads,
            "batch": settings.measure.batch,
            "python": platform.python_version(),
            "versions": package_versions(),
        },
        "decided_by": dict(decided_by),
        "command": search.command,
    }


def package_versions() -> dict[str, str]:
    """Of what figures depend on, by package."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def processor_name(device: Mapping[str, Any]) -> str:
    """What computes, of a table header's ``device``: the GPU where that measured, or the CPU.

    A table that somebody brought may say neither, or anything.
    """
    return printable(device.get("gpu") or device.get("cpu") or "an unnamed processor")


def summary_lines(summary: Mapping[str, Any], folder: str) -> list[str]:
    """The summary as a person reads it in a terminal."""
    latency, accuracy, data = summary["latency"], summary["accuracy"], summary["data"]
    network, search = summary["network"], summary["search"]
    proxy, deployed = data["proxy_resolution"], data["resolution"]
    return [
        f"{summary['name']} on {processor_name(summary['environment']['device'])}",
        f"  network    trial {search['winner']}, {search['trials']} evaluated: "
        f"{network['madds'] / 1e6:.1f} M MAdds, {network['params'] / 1e6:.2f} M parameters",
        f"  accuracy   validation {accuracy['proxy_validation']:.1%} after proxy training at "
        f"{proxy}×{proxy}, {accuracy['validation']:.1%} trained, at {deployed}×{deployed}",
        f"             test {accuracy['test']:.1%} ({_times(accuracy['tests'])}, "
        f"{data['test_images']} images of "
        f"{data['name']} at {deployed}×{deployed})",
        f"  latency    target {latency['target_ms']:.2f} ms, predicted "
        f"{latency['predicted_ms']:.2f} ms, measured {latency['measured_ms']:.2f} ms: "
        f"{summary['verdict'].upper()}",
        f"             (best.onnx end to end, median of {latency['runs']} runs; undisturbed, "
        f"which is what the table counts, {latency['undisturbed_ms']:.2f} ms "
        f"±{latency['interval']:.1%})",
        *_validation_lines(latency["table_validation"]),
        f"  files      {folder}/: best.onnx, best.pt, best.yaml, report.html, summary.json, "
        "trials.csv, figures/pareto.png",
    ]


def _times(count: int) -> str:
    return "once" if count == 1 else f"looked at {count} times in this run"


def _validation_lines(validation: Mapping[str, Any] | None) -> list[str]:
    """How far the table can be trusted, by networks that it was not fitted on."""
    if validation is None:
        return []
    return [
        f"  table      {Fidelity(**validation['prediction'])}",
        f"             noise floor: MAPE {validation['noise']['mape']:.2%}; over "
        f"{validation['prediction']['networks']} other networks of the space",
    ]
