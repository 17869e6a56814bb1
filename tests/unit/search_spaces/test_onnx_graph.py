"""Operations + weights → ONNX: valid graphs, folded norms, and weights that must fit exactly."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from search_spaces import Architecture, build_onnx, load_seed, seed_names
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.lowering import lower, lower_block
from search_spaces.onnx_graph import WEIGHTS_FILE, build_weightless_onnx
from search_spaces.ops import Linear
from search_spaces.shapes import TensorShape

TINY = Architecture(
    name="tiny",
    blocks=(
        ConvNormAct(out_channels=2, kernel=1, activation=Activation.IDENTITY),
        ClassifierHead(num_classes=2),
    ),
    resolution=2,
    image_channels=1,
    norm_epsilon=0.25,
)


def tiny_weights() -> dict[str, Any]:
    return {
        "blocks.0.unit.conv.weight": np.array([2.0, 3.0]).reshape(2, 1, 1, 1),
        "blocks.0.unit.norm.weight": np.array([1.0, 4.0]),
        "blocks.0.unit.norm.bias": np.array([0.5, -1.0]),
        "blocks.0.unit.norm.running_mean": np.array([1.0, -2.0]),
        "blocks.0.unit.norm.running_var": np.array([0.0, 3.75]),
        "blocks.0.unit.norm.num_batches_tracked": np.array(7),
        "blocks.1.classifier.weight": np.array([[1.0, 0.0], [1.0, 1.0]]),
        "blocks.1.classifier.bias": np.array([10.0, 20.0]),
    }


def run(model: onnx.ModelProto | Path, image: np.ndarray) -> np.ndarray:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": image.astype(np.float32)})
    return output


def test_norms_are_folded_into_the_convolutions() -> None:
    """By hand: the scales are γ/√(σ² + ε) = 1/0.5 and 4/2, the biases β − μ·scale."""
    model = build_onnx(TINY, tiny_weights())
    folded = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    np.testing.assert_array_equal(folded["blocks.0.unit.conv.weight"].ravel(), [4.0, 6.0])
    np.testing.assert_array_equal(folded["blocks.0.unit.conv.bias"], [-1.5, 3.0])
    assert [node.op_type for node in model.graph.node] == [
        "Conv", "GlobalAveragePool", "Flatten", "Gemm",
    ]  # fmt: skip
    # The mean of the image is 1: features 4 − 1.5 and 6 + 3, logits 2.5 + 10 and 11.5 + 20.
    logits = run(model, np.array([[[[0.0, 1.0], [1.0, 2.0]]]]))
    np.testing.assert_allclose(logits, [[12.5, 31.5]])


@pytest.mark.parametrize("name", [n for n in tiny_weights() if "num_batches" not in n])
def test_a_missing_weight_is_named(name: str) -> None:
    weights = tiny_weights()
    del weights[name]
    with pytest.raises(ValueError, match=rf"the weights lack '{name}' \(1 missing in all\)"):
        build_onnx(TINY, weights)


def test_a_weight_that_is_left_over_is_named() -> None:
    weights = tiny_weights() | {"blocks.2.classifier.weight": np.zeros(3)}
    with pytest.raises(ValueError, match=r"hold 'blocks\.2\.classifier\.weight'.*\(1 left over"):
        build_onnx(TINY, weights)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("blocks.0.unit.conv.weight", (2, 1), "(2, 1, 1, 1)"),
        ("blocks.0.unit.norm.running_var", (3,), "(2,)"),
        ("blocks.1.classifier.weight", (2, 3), "(2, 2)"),
        ("blocks.1.classifier.bias", (), "(2,)"),
    ],
)
def test_a_weight_of_another_shape_is_named(
    name: str, shape: tuple[int, ...], expected: str
) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared whole
        build_onnx(TINY, tiny_weights() | {name: np.zeros(shape)})
    assert str(caught.value) == f"weight '{name}' must have shape {expected}, but has {shape}"


@pytest.mark.parametrize("name", seed_names())
def test_every_seed_is_a_valid_graph(name: str) -> None:
    model = build_onnx(load_seed(name, resolution=64), batch=3)
    onnx.checker.check_model(model, full_check=True)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert [d.dim_value for d in image.type.tensor_type.shape.dim] == [3, 3, 64, 64]
    assert [d.dim_value for d in logits.type.tensor_type.shape.dim] == [3, 1000]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert inferred.graph.output[0] == logits
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in inferred.graph.value_info
    }
    ops = [op for block in lower(load_seed(name, resolution=64)) for op in block.ops]
    maps = [op for op in ops if not isinstance(op, Linear) and op.name in shapes]
    assert len(maps) > len(ops) - 6
    for op in maps:
        shape = op.output_shape
        expected = [3, shape.channels, shape.height, shape.width]
        assert shapes[op.name] in (expected, expected[:2])


def test_random_weights_are_the_same_every_time() -> None:
    network = load_seed("shufflenet_v2_x0_5", resolution=32)
    assert build_onnx(network).SerializeToString() == build_onnx(network).SerializeToString()


def external(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


@pytest.mark.parametrize("name", seed_names())
def test_external_weights_do_not_overlap(name: str) -> None:
    network = load_seed(name)
    model, size = build_weightless_onnx(name, lower(network))
    end = 0
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = external(tensor)
        offset, length = int(place["offset"]), int(place["length"])
        assert place["location"] == WEIGHTS_FILE
        assert length == 4 * math.prod(tensor.dims)
        assert offset % 64 == 0
        assert end <= offset < end + 64
        end = offset + length
    assert end <= size < end + 64
    weighted = build_onnx(network).graph.initializer
    assert [(t.name, t.dims) for t in model.graph.initializer] == [
        (t.name, t.dims) for t in weighted
    ]


def test_a_graph_with_external_weights_runs_on_any_file_of_its_size(tmp_path: Path) -> None:
    block = InvertedResidual(
        expanded_channels=24,
        out_channels=8,
        kernel=5,
        activation=Activation.RELU6,
        squeeze_excite=SqueezeExcite(channels=4),
        skip=Skip.IDENTITY,
    )
    model, size = build_weightless_onnx("block", [lower_block(block, TensorShape(8, 14, 14))])
    assert model.ByteSize() < 8_000
    onnx.save(model, tmp_path / "block.onnx")
    values = np.random.default_rng(0).standard_normal(size // 4, np.float32) / 10
    (tmp_path / WEIGHTS_FILE).write_bytes(values.tobytes())
    onnx.checker.check_model(str(tmp_path / "block.onnx"))
    output = run(tmp_path / "block.onnx", np.ones((1, 8, 14, 14)))
    assert output.shape == (1, 8, 14, 14)
    assert np.isfinite(output).all()
