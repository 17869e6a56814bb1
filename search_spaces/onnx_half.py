"""A float32 graph → the same graph in float16, between two casts.

Weights stay float32 in their file, behind casts that onnxruntime folds when it loads the graph:
what runs has float16 weights. The same bytes read as float16 would hold infinities, and denormal
numbers, which some machines compute slowly.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def halve(graph: onnx.GraphProto) -> None:
    """Turn a graph of ``onnx_graph.py`` into float16 in place; its input and output stay float32.

    onnxruntime's CPU provider computes in float32 what it has no float16 kernel for (on x86, all of
    a network): what it takes there is no latency of float16.
    """
    (image,), (logits,) = graph.input, graph.output
    halved = {image.name: f"{image.name}.half", logits.name: f"{logits.name}.half"}
    casts = [_cast(image.name, halved[image.name], TensorProto.FLOAT16)]
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            halved[tensor.name] = f"{tensor.name}.half"
            casts.append(_cast(tensor.name, halved[tensor.name], TensorProto.FLOAT16))
        elif tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [halved.get(name, name) for name in names]
    nodes = [*casts, *graph.node, _cast(halved[logits.name], logits.name, TensorProto.FLOAT)]
    del graph.node[:]
    graph.node.extend(nodes)


def _cast(source: str, result: str, data_type: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [result], result, to=data_type)
