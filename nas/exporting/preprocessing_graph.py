"""Preprocessing inside the graph: decoded pixels in, the classes' shares out."""

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from nas.data import Preprocessing

IMAGE, PROBABILITIES = "image", "probabilities"


def with_preprocessing(model: onnx.ModelProto, preprocessing: Preprocessing) -> onnx.ModelProto:
    """The model with bytes ``(N, H, W, 3)`` for its input, and probabilities for its output.

    The image is red, green and blue, resized and cut as the preprocessing says. In the graph it is
    put channels first, scaled to 0..1 and normalised, both in one product and one sum:
    ``pixel / 255 / std - mean / std``. A softmax follows the logits. The network between is as it
    was, whatever its precision.

    Args:
        model: floats ``(N, 3, H, W)`` in, logits ``(N, classes)`` out.
        preprocessing: how the floats were made.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    (given,), (logits,) = graph.input, graph.output
    batch, channels, height, width = (d.dim_value for d in given.type.tensor_type.shape.dim)
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    nodes = [*_normalise(graph, preprocessing, given.name), *graph.node]
    nodes.append(helper.make_node("Softmax", [logits.name], [PROBABILITIES], "softmax", axis=1))
    image = helper.make_tensor_value_info(
        IMAGE, TensorProto.UINT8, [batch, height, width, channels]
    )
    shares = helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, [batch, classes])
    for values, new in ((graph.input, [image]), (graph.output, [shares]), (graph.node, nodes)):
        del values[:]
        values.extend(new)
    return changed


def _normalise(
    graph: onnx.GraphProto, preprocessing: Preprocessing, result: str
) -> list[NodeProto]:
    mean, std = (
        np.array(values, np.float64)[:, None, None]
        for values in (preprocessing.mean, preprocessing.std)
    )
    name = "preprocessing"
    for part, values in (("factor", 1 / (255 * std)), ("offset", -mean / std)):
        tensor = numpy_helper.from_array(values.astype(np.float32), f"{name}.{part}")
        graph.initializer.append(tensor)
    steps: list[tuple[str, list[str], dict[str, Any]]] = [
        ("Transpose", [], {"perm": [0, 3, 1, 2]}),  # of bytes: a quarter of what floats take
        ("Cast", [], {"to": TensorProto.FLOAT}),
        ("Mul", [f"{name}.factor"], {}),
        ("Add", [f"{name}.offset"], {}),
    ]
    nodes, source = [], IMAGE
    for kind, extra, attributes in steps:
        target = result if kind == steps[-1][0] else f"{name}.{kind.lower()}"
        nodes.append(
            helper.make_node(
                kind, [source, *extra], [target], f"{name}.{kind.lower()}", **attributes
            )
        )
        source = target
    return nodes
