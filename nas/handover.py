"""From a network to what a person takes home: trained, tested, exported, measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latency.console import Terminal
from latency.devices import Device
from latency.measure import measure_entries
from latency.plan import MeasureSettings, PlanEntry, no_progress
from latency.side_by_side import SideBySide, measure_side_by_side
from latency.table import Entry
from nas.data import ImageData
from nas.exporting.metadata import describe_network, graph_digest, with_metadata
from nas.exporting.onnx_file import export_onnx
from nas.run_folder import Folder, count_test
from nas.training import evaluate
from nas.training.full import CHECKPOINT, FullTraining, Trained
from nas.training.weights import load_weights, save_weights
from search_spaces import Architecture, build_model
from search_spaces.precision import Precision
from search_spaces.torch_model import Network

NETWORK, WEIGHTS, ONNX_FILE = "best.yaml", "best.pt", "best.onnx"
TRAINED = "trained.json"
"""What is known of the weights, of the ONNX file once there is one, and what they were made of."""


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
        training: how the network is trained; its seed is of new weights, too.
        measure: how it is measured, end to end.
    """

    data: ImageData
    device: Device
    training: FullTraining
    measure: MeasureSettings

    def hand_over(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
        beside: PlanEntry | None = None,
    ) -> Handover:
        """Train a network, test it once, and write ``best.yaml``, ``best.pt``, ``best.onnx``.

        Where the folder holds them, trained in the same way, they are only measured. Where training
        was stopped, it goes on; where exporting failed, nothing is trained or tested again.

        Args:
            weights: a ``state_dict`` that training starts from.
            beside: a network that the ONNX file is timed in turns with.

        Raises:
            DivergenceError: training diverged.
            TrainingError: the machine cannot train the network.
            ExportError: the ONNX file disagrees with torch.
            DeviceError: measuring failed.
        """
        found = self.make(architecture, weights, folder, terminal)
        folder.remove(CHECKPOINT)
        with terminal.progress("measuring the winner"):
            entry, comparison = self.measure_file(architecture, folder, beside)
        del found["epoch"]
        return Handover(**found, measured=entry, beside=comparison)

    def make(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
        *,
        title: str = "the winner",
    ) -> dict[str, Any]:
        """``hand_over`` before the clock; returns what a ``Handover`` says then, and the epoch."""
        found = self._known(architecture, folder)
        if found is None:
            folder.remove(TRAINED)  # it is of other files
            found = self._train_and_test(architecture, weights, folder, terminal, title)
        if "logit_difference" not in found or not (folder.path / ONNX_FILE).exists():
            found = self._export(architecture, found, folder, terminal, title)
        return found

    def is_trained(self, architecture: Architecture, folder: Folder) -> bool:
        """Whether the folder holds the network's weights, trained in the same way and tested."""
        return self._known(architecture, folder) is not None

    def _known(self, architecture: Architecture, folder: Folder) -> dict[str, Any] | None:
        """What is known of the weights in the folder, where they are of such a training."""
        trained = folder.read_json(TRAINED)
        if trained is None or not (folder.path / WEIGHTS).exists():
            return None
        return dict(trained["found"]) if trained["made_of"] == self._made_of(architecture) else None

    def _note(self, found: Mapping[str, Any], architecture: Architecture, folder: Folder) -> None:
        folder.write_json(TRAINED, {"made_of": self._made_of(architecture), "found": found})

    def _made_of(self, architecture: Architecture) -> dict[str, Any]:
        training = self.training.settings.decisive() | {"keep": self.training.keep.value}
        return {"network": architecture.to_yaml(), "training": training}

    def _train_and_test(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
        title: str,
    ) -> dict[str, Any]:
        """Write the network and its weights, and what the test part says of them."""
        model, trained = self.train(architecture, weights, folder, terminal, title=title)
        folder.remove(ONNX_FILE)  # it is of other weights
        folder.write(NETWORK, architecture.to_yaml().encode())
        state = {name: value.cpu() for name, value in model.state_dict().items()}
        save_weights(folder.path / WEIGHTS, state)
        tested = self._test(model, terminal, title)
        # Counted, and known at once: what is stopped later does not look at the test part again.
        found = {
            "validation_accuracy": trained.accuracy,
            "test_accuracy": tested,
            "tests": count_test(folder, tested),
            "epoch": trained.epoch,
        }
        self._note(found, architecture, folder)
        return found

    def _export(
        self,
        architecture: Architecture,
        found: Mapping[str, Any],
        folder: Folder,
        terminal: Terminal,
        title: str,
    ) -> dict[str, Any]:
        """Write the ONNX file of the weights in the folder; returns what is known then.

        Raises:
            ExportError: it disagrees with torch; the weights stay, and what is known of them.
        """
        model = build_model(architecture)
        model.load_state_dict(load_weights(folder.path / WEIGHTS))
        with terminal.progress(f"exporting {title}"):
            content, difference = export_onnx(architecture, model, batch=self.measure.batch)
        described = describe_network(architecture, self.data, Precision.FP32)
        described["accuracy"] = {
            "validation": found["validation_accuracy"],
            "test": found["test_accuracy"],
        }
        folder.write(ONNX_FILE, with_metadata(content, described))
        known = {**found, "logit_difference": difference}
        self._note(known, architecture, folder)
        return known

    def train(
        self,
        architecture: Architecture,
        weights: Mapping[str, Tensor] | None,
        folder: Folder,
        terminal: Terminal,
        *,
        title: str = "the winner",
    ) -> tuple[Network, Trained]:
        """Train a network, from where that was stopped; what ``weights`` lacks is random."""
        torch.manual_seed(self.training.seed)
        model = build_model(architecture)
        model.load_state_dict({**model.state_dict(), **(weights or {})})
        size = architecture.resolution
        trained = self.training.train(
            model,
            self.data.train,
            self.data.validation,
            resolution=size,
            folder=folder.path,
            title=f"training {title} at {size}×{size}",
            terminal=terminal,
        )
        return model, trained

    def _test(self, model: Network, terminal: Terminal, title: str) -> float:
        """The accuracy on the test part."""
        with terminal.progress(f"testing {title}") as update:
            return evaluate(
                model,
                self.data.test,
                resolution=model.architecture.resolution,
                batch_size=self.training.settings.images_at_once,
                on_step=update,
            )

    def measure_file(
        self, architecture: Architecture, folder: Folder, beside: PlanEntry | None
    ) -> tuple[Entry, SideBySide | None]:
        """The latency of ``best.onnx``, end to end; and beside another network."""
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
