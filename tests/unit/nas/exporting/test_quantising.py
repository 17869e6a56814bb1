"""int8 files: the values that the ranges allow, in the form that tables assume, parts left out."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from nas.exporting.onnx_file import Runner
from nas.exporting.quantising import nodes_within, quantise
from nas.exporting.ranges import Method, Range, observe, ranges
from search_spaces import build_onnx


@pytest.fixture
def model(trained) -> onnx.ModelProto:
    return build_onnx(trained.architecture, trained.model.state_dict())


@pytest.fixture
def found(trained, model: onnx.ModelProto) -> dict[str, Range]:
    (images, _) = next(iter(trained.data.train.batches(32, 16)))
    return ranges(
        observe(model, lambda: torch.split(images, 1), lambda: None), Method.MINMAX, 99.99
    )


def _constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def test_scales_are_those_of_the_ranges(model: onnx.ModelProto, found: dict[str, Range]) -> None:
    quantised = quantise(model, found)
    constants = _constants(quantised)
    checked = 0
    for node in quantised.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        low, high = found[node.input[1].removesuffix("_scale")]
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        assert zero.dtype == np.uint8
        assert scale == pytest.approx((high - low) / 255, rel=1e-5)
        assert zero == pytest.approx(-low / scale, abs=0.51)
        checked += 1
    assert checked > 10


def test_weights_have_a_scale_for_each_channel(
    model: onnx.ModelProto, found: dict[str, Range]
) -> None:
    floats, constants = _constants(model), _constants(quantise(model, found))
    for name in ("blocks.0.unit.conv.weight", "blocks.1.depthwise.conv.weight"):
        scale = constants[f"{name}_scale"]
        weights = constants[f"{name}_quantized"]
        assert weights.dtype == np.int8
        assert scale.shape == weights.shape[:1]
        assert len(np.unique(scale)) > 1
        restored = weights * scale[:, None, None, None]
        assert np.abs(restored - floats[name]).max() <= scale.max() / 2 * 1.001


def test_it_answers_nearly_as_before_and_what_is_given_stays(
    trained, model: onnx.ModelProto, found: dict[str, Range]
) -> None:
    before = model.SerializeToString()
    quantised = quantise(model, found)
    assert model.SerializeToString() == before
    (images, _) = next(iter(trained.data.validation.batches(64, 16)))
    exact = Runner(before)(images)
    rounded = Runner(quantised.SerializeToString())(images)
    assert 0 < np.abs(exact - rounded).max() < 0.2 * np.ptp(exact)
    assert (exact.argmax(1) == rounded.argmax(1)).mean() > 0.9


def test_the_same_ranges_give_the_same_file(
    model: onnx.ModelProto, found: dict[str, Range]
) -> None:
    first, second = (quantise(model, found).SerializeToString() for _ in range(2))
    assert first == second


def test_nothing_is_said_to_the_terminal(
    model: onnx.ModelProto,
    found: dict[str, Range],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    quantise(model, found)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_seven_bits(model: onnx.ModelProto, found: dict[str, Range]) -> None:
    whole, reduced = (
        _constants(quantise(model, found, reduce_range=reduce)) for reduce in (False, True)
    )
    name = "blocks.3.classifier.weight_quantized"
    assert np.abs(whole[name].astype(int)).max() == 127
    assert np.abs(reduced[name].astype(int)).max() == 64


@pytest.mark.parametrize("part", ["blocks.1", "squeeze_excite", "classifier"])
def test_parts_stay_in_float32(part: str, model: onnx.ModelProto, found: dict[str, Range]) -> None:
    excluded = nodes_within(model, [part])
    assert 0 < len(excluded) < len(model.graph.node)
    quantised = quantise(model, found, exclude=excluded)
    kinds = {each.name: each.data_type for each in quantised.graph.initializer}
    weights = [t.name for t in model.graph.initializer if t.name.endswith(".weight")]
    within = [name for name in weights if f".{part}." in f".{name}."]
    assert within
    for name in weights:
        if name in within:
            assert kinds[name] == TensorProto.FLOAT
        else:
            assert kinds[f"{name}_quantized"] == TensorProto.INT8


def test_parts_are_whole_names(model: onnx.ModelProto) -> None:
    assert nodes_within(model, []) == []
    names = nodes_within(model, ["squeeze_excite", "blocks.1"])
    assert len(names) == len(set(names))
    assert Counter(name.split(".")[1] for name in names) == {"1": len(names)}
    for part in ("blocks.9", "block", "squeeze", ""):
        with pytest.raises(ValueError, match=f"^exclude={part} names no part of the network"):
            nodes_within(model, [part])
