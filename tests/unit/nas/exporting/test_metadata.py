"""What a file says of itself, as any reader of ONNX reads it."""

import json

import numpy as np
import onnx
import onnxruntime

from nas.exporting.metadata import describe_network, graph_digest, read_metadata, with_metadata
from search_spaces import build_onnx
from search_spaces.precision import Precision


def test_every_runtime_reads_it(trained) -> None:
    content = build_onnx(trained.architecture, trained.model.state_dict()).SerializeToString()
    described = describe_network(trained.architecture, trained.data, Precision.FP32)
    session = onnxruntime.InferenceSession(
        with_metadata(content, described), providers=["CPUExecutionProvider"]
    )
    found = session.get_modelmeta().custom_metadata_map
    assert (found["format"], found["name"], found["precision"]) == ("chronas-1", "small", "fp32")
    assert json.loads(found["classes"]) == list("0123456789")
    prepared = json.loads(found["preprocessing"])
    assert (prepared["resolution"], prepared["resize"], prepared["crop"]) == (16, 16, 1.0)
    assert (prepared["channels"], prepared["scale"], prepared["in_graph"]) == ("RGB", [0, 1], False)
    # The share of 16 that the training images' pixels have, counted by hand.
    from sklearn.datasets import load_digits

    assert np.allclose(prepared["mean"], load_digits().images.mean() / 16, atol=0.01)
    assert json.loads(found["versions"])["onnxruntime"] == onnxruntime.__version__


def test_metadata_changes_no_graph(trained) -> None:
    content = build_onnx(trained.architecture, trained.model.state_dict()).SerializeToString()
    first = with_metadata(content, {"format": "chronas-1", "classes": ["a"] * 100})
    second = with_metadata(first, {"format": "chronas-1", "name": "7"})
    assert read_metadata(second) == {"format": "chronas-1", "name": "7"}
    assert graph_digest(content) == graph_digest(first) == graph_digest(second)
    assert onnx.load_from_string(first).graph == onnx.load_from_string(content).graph
    assert with_metadata(second, {}) == content


def test_the_digest_is_of_all_that_is_computed(trained) -> None:
    state = trained.model.state_dict()
    content = build_onnx(trained.architecture, state).SerializeToString()
    changed = dict(state)
    changed["blocks.3.classifier.bias"] = state["blocks.3.classifier.bias"] + 1e-3
    other = build_onnx(trained.architecture, changed).SerializeToString()
    assert graph_digest(other) != graph_digest(content)


def test_files_of_others_say_nothing(trained) -> None:
    model = build_onnx(trained.architecture, trained.model.state_dict())
    onnx.helper.set_model_props(model, {"classes": "no JSON"})
    assert read_metadata(model.SerializeToString()) == {}
