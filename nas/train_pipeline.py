"""A training from end to end: weights, epochs, test, ONNX file, latency, page, summary."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from latency.console import Terminal
from nas.handover import NETWORK, LastStage
from nas.report.training_contents import training_report
from nas.report.training_page import render_page
from nas.report.training_summary import build_summary, summary_lines
from nas.run_folder import Folder, RunFolder
from nas.train_setup import TrainRun
from nas.training.devices import Team, make_fabric
from nas.training.released import read_weights
from search_spaces import Architecture

_PAGE = "report.html"
MAY_CHANGE_ON_RESUME = frozenset(
    {
        "accelerator",
        "devices",
        "checkpoint_s",
        "tensorboard",
        "target_latency",
        "timed",
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
    for note in run.notes:
        terminal.line(note)
    for note in run.data.notes:
        terminal.line(f"data: {note}")
    folder = RunFolder(run.folder, run.config, MAY_CHANGE_ON_RESUME)
    try:
        summary: dict[str, Any] | None = folder.read_json("summary.json")
        if summary is None or not _answers(summary, run):
            try:
                architecture, weights = _start(run, terminal)
                stage = _stage(run, architecture, folder)
            except BaseException:
                folder.discard()
                raise
            summary = _finish(run, stage, architecture, weights, folder, terminal)
        else:
            terminal.line(f"{folder.path} is finished; for another run give another name=…")
            if not (folder.path / _PAGE).exists():
                trained = Architecture.from_yaml(folder.path / NETWORK)
                _write_page(run, trained, summary, folder, terminal)
        terminal.line()
        for line in summary_lines(summary, str(folder.path)):
            terminal.line(line)
        return summary
    finally:
        folder.close()


def _answers(summary: Mapping[str, Any], run: TrainRun) -> bool:
    """Whether a finished run says what is asked now; otherwise it is judged, or timed, again."""
    if "verdict" not in summary:
        return False  # it is of a version that had neither verdicts nor pages
    latency = summary["latency"]
    is_timed = latency["measured_ms"] is not None
    return latency["target_ms"] == run.target_ms and (is_timed or not run.timed)


def _help(run: TrainRun, terminal: Terminal) -> None:
    """What the other processes do: train along."""
    folder = Folder(run.folder)
    architecture, weights = _start(run, terminal)
    stage = _stage(run, architecture, folder)
    if not stage.is_trained(architecture, folder):
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
    if run.devices > 1 and not stage.is_trained(architecture, folder):
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
    """Train, test, export, measure, report; returns the summary."""
    if run.target_ms is not None:
        terminal.line(f"target {run.target_ms:g} ms")
    # Also of a training that diverges, for arch=…: another library's weights may have changed it.
    folder.write(NETWORK, architecture.to_yaml().encode())
    made = stage.make(architecture, weights, folder, terminal, title=architecture.name)
    measured, described = None, None
    if run.timed:
        with terminal.progress("measuring best.onnx"):
            measured, _ = stage.measure_file(architecture, folder, None)
            described = run.device.describe()
    summary = build_summary(run, architecture, made, measured, described)
    _write_page(run, architecture, summary, folder, terminal)
    folder.write_json("summary.json", summary)
    return summary


def _write_page(
    run: TrainRun,
    architecture: Architecture,
    summary: Mapping[str, Any],
    folder: RunFolder,
    terminal: Terminal,
) -> None:
    with terminal.progress("drawing the report"):
        report = training_report(run, architecture, summary, folder.path)
        folder.write(_PAGE, render_page(report))
