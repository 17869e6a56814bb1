"""Holds the readers of a description to each other: torch, ONNX and the costs.

``assert_readers_agree`` and ``give_statistics`` are fixtures that return functions, for every test
of this folder to use.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from search_spaces import Architecture, build_model, build_onnx, count_costs
from search_spaces.torch_layers import Convolution

LOGIT_TOLERANCE = 1e-4
STATISTICS_RESOLUTION = 64
"""At least: where the last features are 1×1, channels hardly vary over a few images, and norms that
divide by that magnify rounding errors, of torch as of ONNX."""

aten = torch.ops.aten
_TENSORS_READ = {  # which arguments of an operation count as read; a bias does not
    aten.convolution.default: (0, 1),
    aten.addmm.default: (1, 2),
    aten.add.Tensor: (0, 1),
    aten.mul.Tensor: (0, 1),
    aten.mean.dim: (0,),
    aten.avg_pool2d.default: (0,),
    aten.max_pool2d_with_indices.default: (0,),
    aten.clone.default: (0,),  # the copy that a channel shuffle makes
}


@dataclass(frozen=True, slots=True)
class TorchCosts:
    """What ``costs.py`` counts on the description, counted on the torch module."""

    params: int
    madds: int
    memory_access: int


class MemoryAccessCounter(TorchDispatchMode):
    """Counts the values that torch's own operations read and write, as ``costs.py`` defines it."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is aten.cat.default:
            self._count(*args[0], out)
        elif func is aten.split.Tensor:
            self._count(*out, *out)
        elif func in _TENSORS_READ:
            written = out[0] if isinstance(out, tuple) else out
            self._count(*(args[index] for index in _TENSORS_READ[func]), written)
        return out

    def _count(self, *tensors: Tensor) -> None:
        self.total += sum(tensor.numel() for tensor in tensors)


def _count_on_torch(architecture: Architecture) -> TorchCosts:
    with torch.device("meta"):
        model = build_model(architecture).eval()
        image = torch.empty(1, *_image_shape(architecture))
    flops, memory = FlopCounterMode(display=False), MemoryAccessCounter()
    # Costs are of whole convolutions, also on maps of one pixel, where ours take a short cut.
    with torch.no_grad(), patch.object(Convolution, "forward", nn.Conv2d.forward):
        with flops:
            model(image)
        with memory:
            model(image)
    params = sum(parameter.numel() for parameter in model.parameters())
    return TorchCosts(params, flops.get_total_flops() // 2, memory.total)


def _image_shape(architecture: Architecture) -> tuple[int, int, int]:
    return architecture.image_channels, architecture.resolution, architecture.resolution


def _draw_images(architecture: Architecture, number: int) -> Tensor:
    """Noise around a colour of each image's own: noise alone is the same to a global pool."""
    colours = torch.randn(number, architecture.image_channels, 1, 1)
    return colours + torch.randn(number, *_image_shape(architecture))


def _give_statistics(model: nn.Module, images: Tensor) -> None:
    """Give a fresh model norms and logits as after training.

    With statistics that do not fit its activations a deep network answers every image alike, and
    two wrong networks would agree. So they are taken from the images, and the rest is random.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            module.momentum = 1.0
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        model.train()(images)
    model.eval()


def _spread_logits(model: nn.Module, images: Tensor) -> None:
    """Scale the classifier so that two images' logits differ by a thousand times the tolerance.

    Unscaled they differ by 0.01 or by 1,000, and rounding errors with them.
    """
    with torch.no_grad():
        logits = model(images)
        spread = (logits[0] - logits[1]).abs().max()
        assert spread > 10 * LOGIT_TOLERANCE, "the logits hardly depend on the image"
        classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        for weights in classifier.parameters():
            weights *= 1000 * LOGIT_TOLERANCE / spread


def _onnx_logits(graph: onnx.ModelProto, images: Tensor) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {"input": images.numpy()})
    return logits


def _assert_names_agree(graph: onnx.ModelProto, model: nn.Module) -> None:
    """Every weight of the graph is named by the path of the torch module that has it."""
    weights = {
        tensor.name for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT
    }
    paths = {
        f"{path}.{part}"
        for path, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
        for part in ("weight", "bias")
    }
    clip_bounds = {name for name in weights if name.endswith((".min", ".max"))}
    assert weights - clip_bounds == paths


def _assert_logits_agree(architecture: Architecture) -> None:
    model = build_model(architecture)
    resolution = architecture.resolution
    images = _draw_images(architecture.with_resolution(max(resolution, STATISTICS_RESOLUTION)), 4)
    _give_statistics(model, images)
    images = images[:2, :, :resolution, :resolution].contiguous()
    _spread_logits(model, images)
    with torch.no_grad():
        expected = model(images).numpy()
    graph = build_onnx(architecture, model.state_dict(), batch=len(images))
    _assert_names_agree(graph, model)
    logits = _onnx_logits(graph, images)
    assert logits.shape == (2, architecture.num_classes)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=LOGIT_TOLERANCE)


def _assert_readers_agree(architecture: Architecture, resolution: int | None = None) -> None:
    """Torch and ONNX give equal logits, and the costs are those counted on the torch module."""
    if resolution is not None:
        architecture = architecture.with_resolution(resolution)
    costs = count_costs(architecture)
    described = TorchCosts(costs.params, costs.madds, costs.memory_access)
    assert described == _count_on_torch(architecture)
    _assert_logits_agree(architecture)


@pytest.fixture(scope="session")
def assert_readers_agree() -> Callable[..., None]:
    """``assert_readers_agree(architecture, resolution=None)``."""
    return _assert_readers_agree


@pytest.fixture(scope="session")
def give_statistics() -> Callable[[nn.Module, Tensor], None]:
    """``give_statistics(model, images)``: norms and logits as after training."""
    return _give_statistics
