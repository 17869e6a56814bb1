"""int8 graphs: what is converted with which scale, and arithmetic worked out by hand.

That they are the graphs of onnxruntime's own quantisation is tested in ``tests/parity``.
"""

import zlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from search_spaces import load_seed, seed_names
from search_spaces.blocks import Activation, ConvNormAct, Pool, PoolKind
from search_spaces.lowering import LoweredBlock, lower, lower_block
from search_spaces.onnx_graph import GRAPH_OUTPUT, WEIGHTS_FILE, build_weightless_onnx
from search_spaces.ops import GlobalPool
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape


def conv_block(activation: Activation) -> LoweredBlock:
    block = ConvNormAct(out_channels=3, kernel=1, activation=activation)
    return lower_block(block, TensorShape(2, 4, 4))


def build(*blocks: LoweredBlock) -> tuple[onnx.ModelProto, int]:
    return build_weightless_onnx("network", blocks, precision=Precision.INT8)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL
    }


def weights_of(model: onnx.ModelProto) -> dict[str, tuple[int, int, int]]:
    """Type, offset and length of every weight."""
    places = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert place["location"] == WEIGHTS_FILE
            places[tensor.name] = tensor.data_type, int(place["offset"]), int(place["length"])
    return places


def check(folder: Path, model: onnx.ModelProto, size: int) -> None:
    """onnx's checker, which wants to see the weights' file."""
    onnx.save(model, folder / "network.onnx")
    with (folder / WEIGHTS_FILE).open("wb") as file:
        file.truncate(size)
    onnx.checker.check_model(folder / "network.onnx", full_check=True)


def run(folder: Path, model: onnx.ModelProto, weights: bytes, image: np.ndarray) -> np.ndarray:
    onnx.save(model, folder / "network.onnx")
    (folder / WEIGHTS_FILE).write_bytes(weights)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        folder / "network.onnx", options, providers=["CPUExecutionProvider"]
    )
    (output,) = session.run(None, {"input": image.astype(np.float32)})
    return output


def test_an_activation_is_left_to_the_range_of_uint8() -> None:
    model, _ = build(conv_block(Activation.RELU))
    assert [node.op_type for node in model.graph.node] == [
        "QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "DequantizeLinear",
        "Conv", "QuantizeLinear", "DequantizeLinear",
    ]  # fmt: skip
    values = constants(model)
    assert values["output.zero_point"] == 0
    assert values["input.zero_point"] > 0
    assert values["output.zero_point"].dtype == values["input.zero_point"].dtype == np.uint8


def test_a_value_of_both_signs_has_its_zero_inside_of_uint8() -> None:
    model, _ = build(conv_block(Activation.IDENTITY))
    assert 0 < constants(model)["output.zero_point"] < 255


def test_h_swish_is_computed_in_float32() -> None:
    model, _ = build(conv_block(Activation.H_SWISH))
    (h_swish,) = (node for node in model.graph.node if node.op_type == "HardSwish")
    writers = {name: node.op_type for node in model.graph.node for name in node.output}
    assert writers[h_swish.input[0]] == "DequantizeLinear"
    assert list(h_swish.output) == [GRAPH_OUTPUT]


def test_a_pool_passes_its_scale_on() -> None:
    conv = conv_block(Activation.RELU)
    pool = lower_block(
        Pool(kind=PoolKind.MAX, kernel=3),
        conv.ops[-1].output_shape,
        name="pool",
        input_name=conv.output_name,
    )
    model, _ = build(conv, pool)
    scales = [node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert scales == ["input.scale", f"{conv.output_name}.scale", f"{conv.output_name}.scale"]


def test_weights_have_a_scale_an_output_channel_and_biases_that_of_products() -> None:
    model, size = build(conv_block(Activation.RELU))
    values = constants(model)
    conv = "block.unit.conv"
    weight_scale, bias_scale = values[f"{conv}.weight.scale"], values[f"{conv}.bias.scale"]
    assert weight_scale.shape == bias_scale.shape == (3,)
    np.testing.assert_allclose(bias_scale, weight_scale * values["input.scale"], rtol=1e-6)
    for part, kind in (("weight", np.int8), ("bias", np.int32)):
        zero = values[f"{conv}.{part}.zero_point"]
        np.testing.assert_array_equal(zero, np.zeros(3, kind), strict=True)
    assert weights_of(model) == {
        f"{conv}.weight": (TensorProto.INT8, 0, 6),
        f"{conv}.bias": (TensorProto.INT32, 64, 12),
    }
    assert size == 128


def test_scales_of_different_values_differ() -> None:
    """Between equal ones onnxruntime leaves conversions out that a real network has."""
    model, _ = build(*lower(load_seed("mobilenet_v3_small")))
    scales = [
        float(value)
        for name, value in constants(model).items()
        if name.endswith(".scale") and not value.shape
    ]
    assert len(scales) > 100
    assert len(set(scales)) == len(scales)


def test_arithmetic_by_hand(tmp_path: Path) -> None:
    """Pixels of every value of uint8, through weights of int8 and biases of int32."""
    channels = 16
    block = lower_block(ConvNormAct(out_channels=2, kernel=1), TensorShape(channels, 16, 16))
    model, size = build(block)
    values = constants(model)
    image = np.arange(256).reshape(1, 1, 16, 16) - int(values["input.zero_point"])
    # At most 64: without VNNI x86 adds two products in 16 bits, which saturate.
    weight, bias = np.array([60, -7], np.int8), np.array([-3000, 40], np.int32)
    products = channels * image * weight.reshape(1, 2, 1, 1) + bias.reshape(1, 2, 1, 1)
    product_scale = values["input.scale"] * values["block.unit.conv.weight.scale"][0]
    output_scale = values["output.scale"]
    expected = np.clip(np.round(products * (product_scale / output_scale)), 0, 255) * output_scale
    assert len(np.unique(expected)) > 50
    stored = weight.repeat(channels).tobytes().ljust(64, b"\0") + bias.tobytes().ljust(64, b"\0")
    assert len(stored) == size
    pixels = np.repeat(image * values["input.scale"], channels, axis=1)
    output = run(tmp_path, model, stored, pixels)
    np.testing.assert_allclose(output, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", seed_names())
def test_every_seed_is_a_valid_graph(name: str, tmp_path: Path) -> None:
    network = load_seed(name)
    model, size = build(*lower(network))
    check(tmp_path, model, size)
    (image,), (logits,) = model.graph.input, model.graph.output
    assert image.type.tensor_type.elem_type == logits.type.tensor_type.elem_type
    assert image.type.tensor_type.elem_type == TensorProto.FLOAT
    float_model, float_size = build_weightless_onnx(name, lower(network))
    assert size < 0.27 * float_size
    assert weights_of(model).keys() == weights_of(float_model).keys()
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    assert inferred.graph.output[0] == logits


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "shufflenet_v1_g3"])
def test_a_network_runs_on_random_bytes(name: str, tmp_path: Path) -> None:
    model, size = build(*lower(load_seed(name, 0.25, resolution=32)))
    rng = np.random.default_rng(0)
    logits = run(tmp_path, model, rng.bytes(size), rng.standard_normal((1, 3, 32, 32)))
    assert np.isfinite(logits).all()
    assert len(np.unique(logits)) > 1


def test_a_graph_may_end_in_a_map(tmp_path: Path) -> None:
    conv = conv_block(Activation.RELU6)
    one = TensorShape(3, 1, 1)
    pool = GlobalPool(name="end.pool", inputs=(conv.output_name,), output_shape=one)
    model, size = build(conv, LoweredBlock("end", conv.output_name, conv.input_shape, (pool,)))
    check(tmp_path, model, size)
    (result,) = model.graph.output
    assert [d.dim_value for d in result.type.tensor_type.shape.dim] == [1, 3, 1, 1]
    assert model.graph.node[-1].op_type == "DequantizeLinear"


def test_a_block_takes_three_kilobytes_of_a_plan() -> None:
    network = load_seed("mobilenet_v3_large")
    for block, shape in network.walk():
        model, _ = build(lower_block(block, shape))
        assert len(zlib.compress(model.SerializeToString())) < 3_000
