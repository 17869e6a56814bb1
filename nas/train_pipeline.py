"""A training from end to end: weights, epochs, test, ONNX file, latency, summary."""

import platform
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor

from latency.console import Terminal
from latency.table import Entry
from nas.handover import LastStage
from nas.report.summary import package_versions
from nas.run_folder import Folder, RunFolder
from nas.train_setup import TrainRun
from nas.training.devices import Team, make_fabric
from nas.training.full import CHECKPOINT, Keep
from nas.training.released import read_weights
from search_spaces import Architecture, count_costs

MAY_CHANGE_ON_RESUME = frozenset(
    {
        "accelerator",
        "devices",
        "checkpoint_s",
        "tensorboard",
        "training.threads",
        "training.accelerator",
        "training.compile",
        "training.channels_last",
    }
)


def run_training(run: TrainRun, terminal: Terminal, *, is_first: bool) -> dict[str, Any]:
    """Train, and hand over; returns the summary, which is empty in all processes but the first.

    Raises:
        any of ``nas.pipeline.FAILURES``: with a message for the person who gave the command.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    if not is_first:
        _help(run, terminal)
        return {}
    folder = RunFolder(run.folder, run.config, MAY_CHANGE_ON_RESUME)
    try:
        summary: dict[str, Any] | None = folder.read_json("summary.json")
        if summary is None:
            try:
                architecture, weights = _start(run, terminal)
                stage = _stage(run, architecture, folder)
            except BaseException:
                folder.discard()
                raise
            summary = _finish(run, stage, architecture, weights, folder, terminal)
        else:
            terminal.line(f"{folder.path} is finished; for another run give another name=…")
        terminal.line()
        for line in summary_lines(summary, str(folder.path)):
            terminal.line(line)
        return summary
    finally:
        folder.close()


def _help(run: TrainRun, terminal: Terminal) -> None:
    """What the other processes do: train along."""
    folder = Folder(run.folder)
    architecture, weights = _start(run, terminal)
    stage = _stage(run, architecture, folder)
    if not stage.is_made(architecture, folder):
        stage.train(architecture, weights, folder, terminal)


def _start(run: TrainRun, terminal: Terminal) -> tuple[Architecture, Mapping[str, Tensor] | None]:
    """The network and the weights that it begins with, of which the classifier's may be missing.

    Raises:
        ValueError: the weights cannot be read, or are of another network.
    """
    network = run.architecture
    if run.weights is None:
        return network, None
    translated = read_weights(run.weights, network, terminal.line)
    return translated.architecture, translated.weights


def _stage(run: TrainRun, architecture: Architecture, folder: Folder) -> LastStage:
    """The last stage, where all processes that train together have been started."""
    stage = LastStage(data=run.data, device=run.device, training=run.training, measure=run.measure)
    fabric = make_fabric(run.training.settings, run.devices)
    if run.devices > 1 and not stage.is_made(architecture, folder):
        fabric.launch()
    return replace(stage, training=replace(run.training, team=Team(fabric)))


def _finish(
    run: TrainRun,
    stage: LastStage,
    architecture: Architecture,
    weights: Mapping[str, Tensor] | None,
    folder: RunFolder,
    terminal: Terminal,
) -> dict[str, Any]:
    """Train, test, export, measure; returns the summary."""
    made = stage.make(architecture, weights, folder, terminal, title=architecture.name)
    measured = None
    if run.timed:
        with terminal.progress("measuring best.onnx"):
            measured, _ = stage.measure_file(architecture, folder, None)
    summary = build_summary(run, architecture, made, measured)
    folder.write_json("summary.json", summary)
    return summary


def build_summary(
    run: TrainRun, architecture: Architecture, made: Mapping[str, Any], measured: Entry | None
) -> dict[str, Any]:
    """What ``summary.json`` holds.

    Args:
        run: what was asked for.
        architecture: what was trained.
        made: what ``LastStage.make`` found.
        measured: the latency of ``best.onnx``, where it was measured.
    """
    costs, data, training = count_costs(architecture), run.data, run.training
    return {
        "name": run.name,
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
        "latency": None
        if measured is None
        else {
            "measured_ms": measured.median_ms,
            "undisturbed_ms": measured.latency_ms,
            "interval": measured.interval,
            "runs": measured.runs,
        },
        "data": {
            "name": data.name,
            "classes": list(data.class_names),
            "train_images": len(data.train),
            "validation_images": len(data.validation),
            "test_images": len(data.test),
            "preprocessing": data.preprocessing.as_dict(),
            "resolution": architecture.resolution,
        },
        "training": {
            **asdict(training.settings),
            "seed": training.seed,
            "keep": training.keep.value,
            "epoch": made["epoch"],
        },
        "environment": {
            "device": run.device.name,
            "threads": run.measure.threads,
            "batch": run.measure.batch,
            "python": platform.python_version(),
            "versions": package_versions(),
        },
        "command": run.command,
    }


def summary_lines(summary: Mapping[str, Any], folder: str) -> list[str]:
    """The summary as a person reads it in a terminal."""
    network, accuracy, latency = summary["network"], summary["accuracy"], summary["latency"]
    data, training = summary["data"], summary["training"]
    size = f"{data['resolution']}×{data['resolution']}"
    best = "the best" if training["keep"] == Keep.BEST else "the last"
    average = "" if training["ema_decay"] is None else ", averaged weights"
    times = accuracy["tests"]
    looked = "once" if times == 1 else f"looked at {times} times in this run"
    lines = [
        summary["name"],
        f"  network    {network['name']}: {network['madds'] / 1e6:.1f} M MAdds, "
        f"{network['params'] / 1e6:.2f} M parameters",
        f"  accuracy   validation {accuracy['validation']:.1%} after epoch {training['epoch']} of "
        f"{training['epochs']}, {best}{average}",
        f"             test {accuracy['test']:.1%} ({looked}, {data['test_images']} images of "
        f"{data['name']} at {size})",
    ]
    if latency is not None:
        lines.append(
            f"  latency    {latency['measured_ms']:.2f} ms (best.onnx end to end on "
            f"{summary['environment']['device']}, median of {latency['runs']} runs)"
        )
    files = f"best.onnx, best.pt, best.yaml, summary.json, log.csv, {CHECKPOINT}"
    return [*lines, f"  files      {folder}/: {files}"]
