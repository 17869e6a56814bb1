"""What a file says of itself: classes, preprocessing, accuracy, latency, versions.

It stands in the ONNX model's ``metadata_props``, which every runtime hands out: a string by name,
JSON where it is more than a word. It changes nothing of what the graph computes.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from nas.data import ImageData
from search_spaces import Architecture
from search_spaces.precision import Precision

FORMAT = "chronas-1"
_WORDS = frozenset({"format", "name", "data", "precision", "command"})
_PACKAGES = ("chronas", "torch", "onnx", "onnxruntime")


def describe_network(
    architecture: Architecture, data: ImageData, precision: Precision
) -> dict[str, Any]:
    """What is known of every file of a network, by the names of the metadata."""
    return {
        "format": FORMAT,
        "name": architecture.name,
        "data": data.name,
        "precision": str(precision),
        "classes": list(data.class_names),
        "preprocessing": describe_preprocessing(architecture, data),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def describe_preprocessing(architecture: Architecture, data: ImageData) -> dict[str, Any]:
    """How an image becomes the network's input, in the order in which it is done."""
    preprocessing, resolution = data.preprocessing, architecture.resolution
    return {
        "channels": "RGB",
        "resize": preprocessing.resized(resolution),
        "interpolation": "bilinear, antialiased",
        "resolution": resolution,
        "scale": [0, 1],
        **preprocessing.as_dict(),
        "in_graph": False,
    }


def with_metadata(content: bytes, described: Mapping[str, Any]) -> bytes:
    """A serialised model that says ``described``, and nothing that it said before."""
    model = _loaded(content)
    texts = {
        name: value if name in _WORDS else json.dumps(value, allow_nan=False)
        for name, value in described.items()
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, texts)
    changed: bytes = model.SerializeToString(deterministic=True)
    return changed


def read_metadata(content: bytes) -> dict[str, Any]:
    """What a serialised model of ours says of itself; nothing where it is none of ours.

    Raises:
        ValueError: it is no model.
    """
    texts = {each.key: each.value for each in _loaded(content).metadata_props}
    if texts.get("format") != FORMAT:
        return {}
    return {name: text if name in _WORDS else json.loads(text) for name, text in texts.items()}


def graph_digest(content: bytes) -> str:
    """The SHA-256 of a serialised model without its metadata: of what it computes, and how fast.

    Raises:
        ValueError: it is no model.
    """
    model = _loaded(content)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def _loaded(content: bytes) -> onnx.ModelProto:
    """A serialised model.

    Raises:
        ValueError: it is none.
    """
    try:
        return onnx.load_from_string(content)
    except DecodeError as error:
        raise ValueError(f"this is no ONNX model: {error}") from None
