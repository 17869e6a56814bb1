"""A trained network as ONNX, checked against the torch module it was made from; and running it."""

import math
import os
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from search_spaces import Architecture, build_onnx

MAX_LOGIT_DIFFERENCE = 1e-4
"""Of logits up to 1, and in proportion of larger ones: floating point rounds these more."""

_ONLY_ERRORS = 3


class ExportError(RuntimeError):
    """The exported file does not compute what the trained module computes."""


class Runner:
    """Runs an ONNX file with one input and one output, of any precision, on the CPU.

    Args:
        content: the serialised model.
        threads: ``None`` for one a core.
    """

    def __init__(self, content: bytes, *, threads: int | None = None) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
        options.log_severity_level = _ONLY_ERRORS
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        (given,) = self._session.get_inputs()
        self._input, self._batch = given.name, given.shape[0]

    def __call__(self, images: Tensor) -> NDArray[np.float32]:
        """What the file answers to images, in its own batches: ``(N, classes)``."""
        parts = torch.split(images, self._batch)
        return np.concatenate([self._answer(np.ascontiguousarray(part)) for part in parts])

    def _answer(self, images: NDArray[Any]) -> NDArray[np.float32]:
        lacking = self._batch - len(images)
        filled = np.pad(images, [(0, lacking)] + [(0, 0)] * (images.ndim - 1))
        answer: NDArray[np.float32] = self._session.run(None, {self._input: filled})[0]
        return answer[: len(images)]


def export_onnx(
    architecture: Architecture, model: nn.Module, *, batch: int = 1
) -> tuple[bytes, float]:
    """The trained network as a serialised ONNX model, for the architecture's image size.

    Returns:
        the model, and the largest absolute difference of its logits from torch's, on random images.

    Raises:
        ExportError: the logits differ by more than 1e-4, or 1e-4 of the largest where that is
            above 1.
    """
    model.eval()
    content = build_onnx(architecture, model.state_dict(), batch=batch).SerializeToString()
    shape = architecture.input_shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, shape.channels, shape.height, shape.width, generator=generator)
    return content, logit_difference(Runner(content, threads=1), model, images)


@torch.inference_mode()
def logit_difference(runner: Runner, model: nn.Module, images: Tensor) -> float:
    """The largest absolute difference of a file's logits from the module's.

    Raises:
        ExportError: it is more than 1e-4, or 1e-4 of the largest logit where that is above 1.
    """
    logits = model(images).numpy()
    largest = float(np.abs(logits).max())
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is no number, and refused
        difference = float(np.abs(runner(images) - logits).max())
    limit = MAX_LOGIT_DIFFERENCE * max(1.0, largest)
    if not difference <= limit < math.inf:
        raise ExportError(
            f"the exported network's logits differ from torch's, which are up to {largest:.3g}, by "
            f"{difference:.2g}, more than {limit:.2g}"
        )
    return difference
