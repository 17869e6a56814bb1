"""The files' content: a graph, checked and counted, with what is known of it before the clock."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
import torch
from torch import Tensor

from latency.console import Terminal
from nas.data import Shuffle
from nas.exporting.accuracy import BATCH, Answers, answers, probability_difference
from nas.exporting.metadata import graph_digest
from nas.exporting.onnx_file import Runner, logit_difference
from nas.exporting.preprocessing_graph import with_preprocessing
from nas.exporting.quantising import nodes_within, quantise
from nas.exporting.ranges import Histogram, Method, observe, ranges
from nas.exporting.settings import Export
from nas.run_folder import Folder, count_test
from search_spaces import build_onnx
from search_spaces.precision import Precision
from search_spaces.torch_model import Network

_CHECKED_IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A file before it is written.

    Attributes:
        graph: what it computes, without preprocessing.
        found: what is known of it, as plain data.
    """

    graph: onnx.ModelProto
    found: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Maker:
    """Makes one file after the other; what both need is computed, and compared with torch, once.

    Raises:
        ExportError: ONNX does not compute what the module computes.

    Attributes:
        known: what is known of files that were made before, by name.
    """

    export: Export
    terminal: Terminal
    known: Mapping[str, Any] = field(default_factory=dict)
    _model: Network = field(init=False)
    _fp32: onnx.ModelProto = field(init=False)
    _difference: float = field(init=False)
    _before: Answers = field(init=False)

    def __post_init__(self) -> None:
        run = self.export.run
        self._model = run.model()
        self._fp32 = self._build(self.export.measure.batch)
        with self.terminal.progress("comparing fp32 with torch"):
            self._difference = max(
                logit_difference(Runner(self._fp32.SerializeToString()), self._model, images)
                for images in self._some_images()
            )
        self._before = self._validated(self._fp32, "fp32")

    def make(self, precision: Precision) -> Made:
        """A file's graph and what is known of it.

        Raises:
            ValueError: ``exclude`` names nothing, or images are no pixels.
            ExportError: with preprocessing in it the graph computes something else.
        """
        made = self._make_int8() if precision is Precision.INT8 else self._make_fp32()
        if self.export.settings.with_preprocessing:
            return self._with_preprocessing(made)
        return made

    def _make_fp32(self) -> Made:
        accuracy = self._accuracy(self._before)
        accuracy["test"] = (self.export.run.summary.get("accuracy") or {}).get("test")
        return Made(
            graph=self._fp32, found={"accuracy": accuracy, "logit_difference": self._difference}
        )

    def _make_int8(self) -> Made:
        settings, calibration = self.export.settings, self.export.settings.calibration
        exclude = nodes_within(self._fp32, settings.exclude)
        histograms = self._observe()
        tried: dict[Method, tuple[onnx.ModelProto, Answers]] = {}
        for method in calibration.methods:
            with self.terminal.progress(f"quantising by {method}"):
                graph = quantise(
                    self._fp32,
                    ranges(histograms, method, calibration.percentile),
                    exclude=exclude,
                    reduce_range=settings.reduce_range,
                )
            tried[method] = graph, self._validated(graph, f"int8 by {method}")
        best = max(tried, key=lambda method: self._worth(tried[method][1]))
        graph, after = tried[best]
        found = {
            "accuracy": self._accuracy(after) | self._tested(graph),
            "network_sha256": graph_digest(graph.SerializeToString()),
            "fp32_validation": self._before.accuracy,
            "agreement": after.agreement(self._before),
            "quantisation": {
                "method": str(best),
                "tried": {str(method): each.accuracy for method, (_, each) in tried.items()},
                "images": min(calibration.images, len(self.export.data.train)),
                "exclude": list(settings.exclude),
                "reduce_range": settings.reduce_range,
            },
        }
        return Made(graph=graph, found=found)

    def _worth(self, after: Answers) -> tuple[float, float]:
        """Where accuracies are equal, what answers more often as before is nearer to it."""
        return after.accuracy, after.agreement(self._before)

    def _observe(self) -> Mapping[str, Histogram]:
        calibration = self.export.settings.calibration
        count = min(calibration.images, len(self.export.data.train))
        with self.terminal.progress(f"calibrating on {count} training images") as update:
            done = iter(range(1, 2 * count + 1))
            return observe(
                self._build(batch=1),
                self._calibration_images,
                lambda: update(next(done), 2 * count),
            )

    def _calibration_images(self) -> Iterator[Tensor]:
        """One by one, so that no more of them than a batch is in memory."""
        calibration, data = self.export.settings.calibration, self.export.data
        left, epoch = min(calibration.images, len(data.train)), 0
        size = min(BATCH, left)
        while left:
            shuffle = Shuffle(seed=calibration.seed, epoch=epoch)
            for images, _ in data.train.batches(size, self._resolution, shuffle):
                yield from torch.split(images[:left], 1)
                left -= min(left, len(images))
                if not left:
                    break
            epoch += 1

    def _some_images(self) -> Iterator[Tensor]:
        left = _CHECKED_IMAGES
        for images, _ in self.export.data.validation.batches(BATCH, self._resolution):
            yield images[:left]
            left -= len(images)
            if left <= 0:
                return

    def _validated(self, graph: onnx.ModelProto, name: str) -> Answers:
        with self.terminal.progress(f"validating {name}") as update:
            runner = Runner(graph.SerializeToString())
            return answers(runner, self.export.data.validation, self._resolution, update)

    def _tested(self, graph: onnx.ModelProto) -> dict[str, Any]:
        """The accuracy on the test part, and how often the run had looked at that by then.

        A network that was tested before, in a file with preprocessing or without, is not again.
        """
        if not self.export.settings.test:
            return {"test": None}
        content = graph.SerializeToString()
        digest = graph_digest(content)
        for record in self.known.values():
            if record.get("network_sha256") == digest and record["accuracy"]["test"] is not None:
                found: dict[str, Any] = record["accuracy"]
                return found
        with self.terminal.progress("testing int8, once") as update:
            tested = answers(Runner(content), self.export.data.test, self._resolution, update)
        tests = count_test(Folder(self.export.run.folder), tested.accuracy)
        return {"test": tested.accuracy, "test_images": len(tested.right), "tests": tests}

    def _accuracy(self, found: Answers) -> dict[str, Any]:
        return {"validation": found.accuracy, "validation_images": len(found.right)}

    def _with_preprocessing(self, made: Made) -> Made:
        preprocessing = self.export.data.preprocessing
        graph = with_preprocessing(made.graph, preprocessing)
        within, runner = (Runner(g.SerializeToString()) for g in (graph, made.graph))
        difference = max(
            probability_difference(runner, within, preprocessing, images)
            for images in self._some_images()
        )
        return Made(graph=graph, found=made.found | {"probability_difference": difference})

    def _build(self, batch: int) -> onnx.ModelProto:
        return build_onnx(self.export.run.architecture, self._model.state_dict(), batch=batch)

    @property
    def _resolution(self) -> int:
        return self.export.run.architecture.resolution
