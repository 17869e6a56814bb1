"""Every number that a run printed, as plain data and as text."""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from latency.fidelity import Fidelity
from latency.table import LatencyTable
from latency.table_report import printable
from nas.handover import Handover
from nas.setup import Search
from nas.units import verdict
from nas.winner import Finalist
from search_spaces import count_costs

_RUNTIME = ("runtime", "runtime_version", "provider")
_PACKAGES = ("chronas", "torch", "onnx", "onnxruntime", "optuna", "numpy", "scikit-learn")


def build_summary(
    search: Search,
    table: LatencyTable,
    winner: Finalist,
    handover: Handover,
    *,
    finalists: Sequence[Finalist],
    target_ms: float,
    reachable_ms: tuple[float, float],
    decided_by: Mapping[str, Any],
) -> dict[str, Any]:
    """What ``summary.json`` holds. The verdict is about the measured latency, not the predicted.

    Args:
        finalists: all that were measured end to end, the winner among them.
    """
    settings, space, data = search.settings, search.space, search.data
    costs = count_costs(winner.architecture)
    measured, validation = handover.measured, table.validation()
    return {
        "name": settings.name,
        "verdict": verdict(measured.median_ms, target_ms),
        "latency": {
            "target_ms": target_ms,
            "predicted_ms": winner.candidate.latency_ms,
            "measured_ms": measured.median_ms,
            "undisturbed_ms": measured.latency_ms,
            "interval": measured.interval,
            "runs": measured.runs,
            "table_validation": None if validation is None else asdict(validation),
            "reachable_ms": list(reachable_ms),
            "finalists": [_finalist(each) for each in finalists],
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
            **{name: table.header.get(name) for name in _RUNTIME},
            "threads": settings.measure.threads,
            "batch": settings.measure.batch,
            "precision": str(settings.measure.precision),
            "python": platform.python_version(),
            "versions": package_versions(),
        },
        "decided_by": dict(decided_by),
        "command": search.command,
    }


def _finalist(finalist: Finalist) -> dict[str, Any]:
    """Beside ``measured_ms`` stands what the table counts: a machine that is not disturbed."""
    return {
        "trial": finalist.candidate.number,
        "predicted_ms": finalist.candidate.latency_ms,
        "undisturbed_ms": finalist.measured.latency_ms,
        "measured_ms": finalist.measured.median_ms,
    }


def package_versions() -> dict[str, str]:
    """Of what figures depend on, by package."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def processor_name(device: Mapping[str, Any]) -> str:
    """What computes, of a table header's ``device``: the GPU where that measured, or the CPU.

    A table that somebody brought may say neither, or anything.
    """
    return printable(device.get("gpu") or device.get("cpu") or "an unnamed processor")


def environment_rows(
    environment: Mapping[str, Any], device: Mapping[str, Any] | None
) -> list[tuple[str, str]]:
    """Device, runtime, settings of the measurement and versions, for people.

    Args:
        environment: of a summary; ``device``: of a table's header, ``None`` where nothing was
            measured. They may say anything.
    """
    rows = [] if device is None else _measurement_rows(environment, device)
    rows.append(("Python", printable(environment["python"])))
    rows += [(name, printable(text)) for name, text in environment["versions"].items()]
    return [(name, text) for name, text in rows if text]


def _measurement_rows(
    environment: Mapping[str, Any], device: Mapping[str, Any]
) -> list[tuple[str, str]]:
    rows = [("processor", processor_name(device))]
    rows += [(name, printable(value)) for name, value in device.items() if value is not None]
    runtime = [environment.get(name) for name in ("runtime", "runtime_version", "provider")]
    rows.append(("runtime", " ".join(printable(part) for part in runtime if part is not None)))
    rows += [(name, printable(environment[name])) for name in ("precision", "threads", "batch")]
    return rows


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
        f"             test {accuracy['test']:.1%} ({times_looked(accuracy['tests'])}, "
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


def times_looked(count: int) -> str:
    """How often a run has looked at its test part, in words."""
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
