"""float16 graphs: valid, folded when they are loaded, and the same network as in float32."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from search_spaces import load_seed, seed_names
from search_spaces.lowering import lower
from search_spaces.onnx_graph import WEIGHTS_FILE, build_weightless_onnx
from search_spaces.precision import Precision

NARROW = ["mobilenet_v2", "mobilenet_v3_small", "mnasnet_a1", "shufflenet_v2_x1_0"]
WIDTH, RESOLUTION = 0.5, 32


def save(name: str, precision: Precision, folder: Path) -> Path:
    network = load_seed(name, WIDTH, resolution=RESOLUTION)
    model, size = build_weightless_onnx(name, lower(network), precision=precision)
    onnx.save(model, folder / f"{precision}.onnx")
    values = np.random.default_rng(0).uniform(-0.1, 0.1, size // 4).astype(np.float32)
    (folder / WEIGHTS_FILE).write_bytes(values.tobytes())
    return folder / f"{precision}.onnx"


def quiet(level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return options


def run(path: Path) -> np.ndarray:
    options = quiet(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(1).random((1, 3, RESOLUTION, RESOLUTION), np.float32)
    (logits,) = session.run(None, {"input": image})
    return logits


@pytest.mark.parametrize("name", seed_names())
def test_every_seed_is_a_valid_graph(name: str, tmp_path: Path) -> None:
    network = load_seed(name)
    model, size = build_weightless_onnx(name, lower(network), precision=Precision.FP16)
    onnx.save(model, tmp_path / "network.onnx")
    with (tmp_path / WEIGHTS_FILE).open("wb") as file:
        file.truncate(size)  # the checker wants to see it
    onnx.checker.check_model(tmp_path / "network.onnx", full_check=True)
    assert size == build_weightless_onnx(name, lower(network))[1]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    assert inferred.output[0] == model.graph.output[0]
    kinds = Counter(value.type.tensor_type.elem_type for value in inferred.value_info)
    assert kinds.keys() == {TensorProto.FLOAT16}
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("name", NARROW)
def test_weights_are_float16_once_the_graph_is_loaded(name: str, tmp_path: Path) -> None:
    path = save(name, Precision.FP16, tmp_path)
    options = quiet(onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph
    weights = [t for t in optimised.initializer if ".weight" in t.name or ".bias" in t.name]
    stored = onnx.load(path, load_external_data=False).graph.initializer
    assert len(weights) == sum(t.data_location == TensorProto.EXTERNAL for t in stored)
    assert {tensor.data_type for tensor in weights} == {TensorProto.FLOAT16}


@pytest.mark.parametrize("name", NARROW)
def test_it_computes_what_the_float32_graph_computes(name: str, tmp_path: Path) -> None:
    expected = run(save(name, Precision.FP32, tmp_path))
    logits = run(save(name, Precision.FP16, tmp_path))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, rtol=0, atol=0.02 * np.abs(expected).max())
