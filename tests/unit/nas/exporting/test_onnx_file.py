"""Export: the file computes what the module computes, or there is no file."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch

from nas.exporting.onnx_file import ExportError, export_onnx
from search_spaces import Architecture, build_model
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)

NETWORK = Architecture(
    name="small",
    blocks=(
        ConvNormAct(out_channels=8, kernel=3, stride=2, activation=Activation.H_SWISH),
        InvertedResidual(
            expanded_channels=16,
            out_channels=8,
            kernel=5,
            squeeze_excite=SqueezeExcite(channels=4),
            skip=Skip.IDENTITY,
        ),
        ClassifierHead(num_classes=10, dropout=0.5),
    ),
    resolution=16,
)


def _model(architecture: Architecture = NETWORK) -> torch.nn.Module:
    """A module whose norms have seen images, and whose logits are as large as after training."""
    model = build_model(architecture)
    with torch.no_grad():
        model.get_parameter("blocks.2.classifier.weight").mul_(100)
        for _ in range(10):
            model.train()(3 * torch.randn(8, 3, 16, 16) + 1)
    return model


@pytest.mark.parametrize("batch", [1, 3])
def test_the_file_computes_what_the_module_computes(batch: int) -> None:
    model = _model()
    content, difference = export_onnx(NETWORK, model, batch=batch)
    assert 0 <= difference <= 1e-4
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = 3 * torch.randn(batch, 3, 16, 16) + 1
    (logits,) = session.run(None, {"input": images.numpy()})
    with torch.no_grad():
        expected = model.eval()(images).numpy()
    assert logits.shape == (batch, 10)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def _with_block(index: int, **fields: object) -> Architecture:
    blocks = list(NETWORK.blocks)
    blocks[index] = replace(blocks[index], **fields)  # type: ignore[arg-type]
    return replace(NETWORK, blocks=tuple(blocks))


@pytest.mark.parametrize(
    "other",
    [
        _with_block(0, activation=Activation.RELU),
        _with_block(0, stride=1),
        _with_block(1, skip=Skip.NONE),
        replace(NETWORK, norm_epsilon=0.5),
    ],
    ids=["activation", "stride", "skip", "epsilon"],
)
def test_equal_weights_of_a_network_that_computes_something_else_are_refused(
    other: Architecture,
) -> None:
    with pytest.raises(ExportError, match=r"logits differ from torch's, .* by .*, more than \d"):
        export_onnx(other, _model())


@pytest.mark.parametrize("fields", [{"kernel": 3}, {"squeeze_excite": None}])
def test_weights_of_other_shapes_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"blocks\.1\."):
        export_onnx(_with_block(1, **fields), _model())


def test_a_diverged_module_is_refused() -> None:
    model = _model()
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    with pytest.raises(ExportError, match=r"differ from torch's, .* by nan"):
        export_onnx(NETWORK, model)


def _with_large_logits(factor: float) -> torch.nn.Module:
    model = _model()
    with torch.no_grad():
        for name in ("weight", "bias"):
            model.get_parameter(f"blocks.2.classifier.{name}").mul_(factor)
    return model


def test_of_large_logits_the_difference_is_relative() -> None:
    """They are rounded to more than 1e-4 then."""
    model = _with_large_logits(1e5)
    content, difference = export_onnx(NETWORK, model, batch=8)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = torch.randn(8, 3, 16, 16)
    (logits,) = session.run(None, {"input": images.numpy()})
    assert np.abs(logits).max() > 1e4
    assert 1e-4 < difference < 1e-5 * np.abs(logits).max()


def test_of_large_logits_another_network_is_refused_too() -> None:
    other = replace(NETWORK, norm_epsilon=0.01)
    with pytest.raises(ExportError, match=r"which are up to [\d.e+]+, by"):
        export_onnx(other, _with_large_logits(1e5))


def test_infinite_logits_are_refused() -> None:
    model = _model()
    with torch.no_grad():
        model.get_parameter("blocks.2.classifier.bias").fill_(float("inf"))
    with pytest.raises(ExportError, match=r"which are up to inf, by nan"):
        export_onnx(NETWORK, model)
