"""What a run found, as plain data, as text, and as a figure."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from latency.figures import png
from nas.handover import Handover
from netadapt.journal import Ended, State
from netadapt.setup import NetAdaptRun
from search_spaces import Architecture, count_costs


def summarise(
    run: NetAdaptRun,
    start: State,
    end: State,
    handover: Handover,
    steps: Sequence[Ended],
    target_ms: float,
) -> dict[str, Any]:
    """What ``summary.json`` holds. The verdict is about the measured latency of ``best.onnx``.

    Its figures are of when ``best.onnx`` was measured, ``target_ms`` too, but for what was saved:
    that is of when the seed was measured first, as the predictions of the steps are.
    """
    measured, beside = handover.measured, handover.beside
    assert beside is not None
    return {
        "name": run.settings.name,
        "verdict": "met" if measured.median_ms <= target_ms else "missed",
        "latency": {
            "target_ms": target_ms,
            "seed_ms": beside.second.median_ms,
            "predicted_ms": end.predicted_ms * beside.second.median_ms / start.measured_ms,
            "measured_ms": measured.median_ms,
            "undisturbed_ms": measured.latency_ms,
            "interval": measured.interval,
            "runs": measured.runs,
            "share_of_seed": beside.ratio,
        },
        "saved": {
            "predicted_ms": sum(step.saved_ms for step in steps),
            "measured_ms": (1 - beside.ratio) * start.measured_ms,
        },
        "accuracy": {
            "seed_proposals": start.accuracy,
            "proposals": end.accuracy,
            "validation": handover.validation_accuracy,
            "test": handover.test_accuracy,
            "tests": handover.tests,
        },
        "network": {"seed": _costs(start.architecture), "best": _costs(end.architecture)},
        "steps": [step.change for step in steps],
        "data": {"name": run.data.name, "test_images": len(run.data.test)},
        "resolution": end.architecture.resolution,
        "proxy_resolution": run.settings.proxy_resolution,
        "device": run.device.describe(),
        "command": run.command,
    }


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
        f"  files      {folder}/: best.onnx, best.pt, best.yaml, summary.json, trajectory.csv, "
        "figures/trajectory.png",
    ]


def draw_trajectory(start: State, steps: Sequence[Ended], target_ms: float) -> bytes:
    """Accuracy on the images kept for proposals over measured latency, step by step, as a PNG."""
    states = [start, *(step.state for step in steps)]
    latencies = [state.measured_ms for state in states]
    accuracies = [100 * state.accuracy for state in states]
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(latencies, accuracies, color="#1f5fbf", marker="o", markersize=4, label="steps")
    axes.scatter(latencies[:1], accuracies[:1], s=60, marker="s", color="black", label="seed")
    axes.axvline(target_ms, color="#b02a2a", linestyle="--", label=f"target {target_ms:.2f} ms")
    axes.set_xlabel("measured latency on this device, ms")
    axes.set_ylabel("accuracy on the images kept for proposals, %")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return png(figure)
