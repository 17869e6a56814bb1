"""From a network to what a person takes home: trained, tested, exported, measured."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latency.console import Terminal
from latency.devices import Device
from latency.measure import measure_entries
from latency.plan import MeasureSettings, PlanEntry, no_progress
from latency.side_by_side import SideBySide, measure_side_by_side
from latency.table import Entry
from nas.data import ImageData
from nas.exporting.metadata import describe_network, graph_digest, with_metadata
from nas.exporting.onnx_file import export_onnx
from nas.run_folder import Folder
from nas.training import TrainSettings, evaluate, train
from nas.training.weights import save_weights
from search_spaces import Architecture, build_model
from search_spaces.precision import Precision

ONNX_FILE = "best.onnx"
TRAINED = "trained.json"
"""What is known of the files before they are measured, and what they were made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What the final stage found.

    Attributes:
        validation_accuracy, test_accuracy: at the deployed image size, in 0..1.
        tests: how often this run has looked at the test part, this time included.
        logit_difference: the largest between torch and the ONNX file.
        measured: the ONNX file's latency, end to end.
        beside: that beside another network, where one was given.
    """

    validation_accuracy: float
    test_accuracy: float
    tests: int
    logit_difference: float
    measured: Entry
    beside: SideBySide | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStage:
    """What the last stage of a run works with.

    Attributes:
        final: how the network is trained.
        measure: how it is measured, end to end.
        seed: of weights and order.
    """

    data: ImageData
    device: Device
    final: TrainSettings
    measure: MeasureSettings
    seed: int

    def hand_over(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
        beside: PlanEntry | None = None,
    ) -> Handover:
        """Train a network, test it once, and write ``best.yaml``, ``best.pt``, ``best.onnx``.

        Where the folder holds them, trained in the same way, they are only measured.

        Args:
            weights: a ``state_dict`` that training starts from.
            beside: a network that the ONNX file is timed in turns with.

        Raises:
            DivergenceError: training diverged.
            ExportError: the ONNX file disagrees with torch.
            DeviceError: measuring failed.
        """
        made_of = {"network": architecture.to_yaml(), "final": asdict(self.final)}
        trained: dict[str, Any] | None = folder.read_json(TRAINED)
        is_there = (folder.path / ONNX_FILE).exists()
        if not is_there or trained is None or trained["made_of"] != made_of:
            folder.remove(TRAINED)  # it is of other files
            found = self._make(architecture, weights, folder, terminal)
            trained = {"made_of": made_of, "found": found}
            folder.write_json(TRAINED, trained)
        with terminal.progress("measuring the winner"):
            entry, comparison = self._measure_file(architecture, folder, beside)
        return Handover(**trained["found"], measured=entry, beside=comparison)

    def _make(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
    ) -> dict[str, Any]:
        """Write the network's files; returns what a ``Handover`` says of them before the clock."""
        torch.manual_seed(self.seed)
        model = build_model(architecture)
        if weights is not None:
            model.load_state_dict(weights)
        validated, tested = self._train(model, architecture.resolution, terminal)
        tests = [*(folder.read_json("tests.json") or []), tested]
        folder.write_json("tests.json", tests)
        model.cpu()
        with terminal.progress("exporting the winner"):
            content, difference = export_onnx(architecture, model, batch=self.measure.batch)
        described = describe_network(architecture, self.data, Precision.FP32)
        described["accuracy"] = {"validation": validated, "test": tested}
        content = with_metadata(content, described)
        folder.write("best.yaml", architecture.to_yaml().encode())
        save_weights(folder.path / "best.pt", model.state_dict())
        folder.write(ONNX_FILE, content)
        return {
            "validation_accuracy": validated,
            "test_accuracy": tested,
            "tests": len(tests),
            "logit_difference": difference,
        }

    def _train(self, model: nn.Module, resolution: int, terminal: Terminal) -> tuple[float, float]:
        """Returns the accuracies on the validation part and, once, on the test part."""
        data = self.data
        with terminal.progress(f"training the winner at {resolution}×{resolution}") as update:
            train(
                model,
                data.train,
                self.final,
                resolution=resolution,
                seed=self.seed,
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
                        batch_size=self.final.batch_size,
                        on_step=update,
                    )
                )
        return accuracies[0], accuracies[1]

    def _measure_file(
        self, architecture: Architecture, folder: Folder, beside: PlanEntry | None
    ) -> tuple[Entry, SideBySide | None]:
        content, shape = (folder.path / ONNX_FILE).read_bytes(), architecture.input_shape
        # The file is what is proven: what was measured of another graph is none of it.
        digest = graph_digest(content)[:12]
        entry = PlanEntry(
            key=f"{ONNX_FILE} {digest}",
            graph=content,
            input_shape=(self.measure.batch, shape.channels, shape.height, shape.width),
        )
        path = folder.path / f"measured_{digest}.jsonl"
        if beside is None:
            return measure_entries(self.device, path, [entry], self.measure, no_progress)[0], None
        comparison = measure_side_by_side(self.device, path, entry, beside, self.measure)
        return comparison.first, comparison
