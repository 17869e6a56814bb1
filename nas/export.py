"""The ONNX file that a search hands over, checked against the torch module it was made from."""

import numpy as np
import onnxruntime as ort
import torch
from torch import nn

from search_spaces import Architecture, build_onnx

MAX_LOGIT_DIFFERENCE = 1e-4


class ExportError(RuntimeError):
    """The exported file does not compute what the trained module computes."""


def export_onnx(
    architecture: Architecture, model: nn.Module, *, batch: int = 1
) -> tuple[bytes, float]:
    """The trained network as a serialised ONNX model, for the architecture's image size.

    Returns:
        the model, and the largest absolute difference of its logits from torch's, on random images.

    Raises:
        ExportError: the logits differ by more than 1e-4.
    """
    model.eval()
    content = build_onnx(architecture, model.state_dict(), batch=batch).SerializeToString()
    shape = architecture.input_shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, shape.channels, shape.height, shape.width, generator=generator)
    with torch.inference_mode():
        expected = model(images).numpy()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    logits = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    difference = float(np.abs(logits - expected).max())
    if not difference <= MAX_LOGIT_DIFFERENCE:
        raise ExportError(
            f"the exported network's logits differ from torch's by {difference:.2g}, more than "
            f"{MAX_LOGIT_DIFFERENCE}"
        )
    return content, difference
