"""From the winning network to what a person takes home: trained, tested, exported, measured."""

import io
from dataclasses import dataclass

import torch

from latency.console import Terminal
from latency.measure import measure_entries
from latency.plan import PlanEntry, no_progress
from latency.table import Entry
from nas.evaluators import GivesWeights
from nas.export import export_onnx
from nas.run_folder import Folder
from nas.setup import Search
from nas.training import evaluate, train
from nas.winner import Finalist
from search_spaces import Architecture, build_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What the final stage found.

    Attributes:
        validation_accuracy, test_accuracy: at the deployed image size, in 0..1.
        tests: how often this run has looked at the test part, this time included.
        logit_difference: the largest between torch and the ONNX file.
        measured: the ONNX file's latency, end to end.
    """

    validation_accuracy: float
    test_accuracy: float
    tests: int
    logit_difference: float
    measured: Entry


def hand_over(winner: Finalist, search: Search, folder: Folder, terminal: Terminal) -> Handover:
    """Train the winner, test it once, and write ``best.yaml``, ``best.pt``, ``best.onnx``.

    Where the evaluator has weights of it, training starts from them.

    Raises:
        DivergenceError: training diverged.
        ExportError: the ONNX file disagrees with torch.
        DeviceError: measuring failed.
    """
    settings, data, architecture = search.settings, search.data, winner.architecture
    final, resolution = settings.final, architecture.resolution
    torch.manual_seed(settings.seed)
    model = build_model(architecture)
    if isinstance(search.evaluator, GivesWeights):
        with terminal.progress("taking the winner's weights over"):
            model.load_state_dict(search.evaluator.weights(architecture))
    with terminal.progress(f"training the winner at {resolution}×{resolution}") as update:
        train(
            model,
            data.train,
            final,
            resolution=resolution,
            seed=settings.seed,
            on_step=update,
        )
    accuracies = []
    for part, split in (("validating", data.validation), ("testing", data.test)):
        with terminal.progress(f"{part} the winner") as update:
            accuracies.append(
                evaluate(
                    model,
                    split,
                    resolution=resolution,
                    batch_size=final.batch_size,
                    on_step=update,
                )
            )
    tests = [*(folder.read_json("tests.json") or []), accuracies[1]]
    folder.write_json("tests.json", tests)
    with terminal.progress("exporting and measuring the winner"):
        content, difference = export_onnx(architecture, model, batch=settings.measure.batch)
        entry = _measure_file(content, architecture, search, folder)
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    folder.write("best.yaml", architecture.to_yaml().encode())
    folder.write("best.pt", weights.getvalue())
    folder.write("best.onnx", content)
    return Handover(
        validation_accuracy=accuracies[0],
        test_accuracy=accuracies[1],
        tests=len(tests),
        logit_difference=difference,
        measured=entry,
    )


def _measure_file(
    content: bytes, architecture: Architecture, search: Search, folder: Folder
) -> Entry:
    shape, measure = architecture.input_shape, search.settings.measure_networks
    entry = PlanEntry(
        key=f"best.onnx of {folder.path.name}",
        graph=content,
        input_shape=(measure.batch, shape.channels, shape.height, shape.width),
    )
    # The file is what is proven, so it is measured anew each time it is made.
    path = folder.path / "measured.jsonl"
    path.unlink(missing_ok=True)
    return measure_entries(search.device, path, [entry], measure, no_progress)[0]
