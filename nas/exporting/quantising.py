"""A float32 model → int8, by onnxruntime's static quantisation.

The form is that which int8 latency tables are measured of (``search_spaces/onnx_quantised.py``):
QDQ, uint8 activations, int8 weights by channel. So what a table says is about such files.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from nas.exporting.ranges import Range


def quantise(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    *,
    exclude: Sequence[str] = (),
    reduce_range: bool = False,
) -> onnx.ModelProto:
    """The model in int8; its input and output stay float32.

    Args:
        model: of ``build_onnx``.
        ranges: of every activation: what uint8 covers.
        exclude: nodes that stay in float32.
        reduce_range: whether weights have 7 bits. Processors without VNNI add products of 8 bits
            in 16, where they may overflow.
    """
    given = onnx.ModelProto()
    given.CopyFrom(model)
    add_pre_process_metadata(given)  # batch norms are folded: there is nothing to optimise before
    overrides = {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ranges.items()
    }
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_static(
            given,
            path,
            _OneImage(model),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(exclude),
            extra_options={"TensorQuantOverrides": overrides},
        )
        return onnx.load(path)


class _OneImage(CalibrationDataReader):  # type: ignore[misc]
    """What onnxruntime insists on running; the ranges are known already, and override its own."""

    def __init__(self, model: onnx.ModelProto) -> None:
        (given,) = model.graph.input
        shape = [each.dim_value for each in given.type.tensor_type.shape.dim]
        self._feeds = iter([{given.name: np.zeros(shape, np.float32)}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._feeds, None)


def nodes_within(model: onnx.ModelProto, parts: Sequence[str]) -> list[str]:
    """The nodes of parts of a network, which are named as in torch.

    Args:
        parts: ``blocks.0`` is a block and all in it, ``squeeze_excite`` every one of that name.

    Raises:
        ValueError: the network has no such part.
    """
    names = [node.name for node in model.graph.node]
    found: list[str] = []
    for part in parts:
        within = [name for name in names if f".{part}." in f".{name}."]
        if not within:
            raise ValueError(
                f"exclude={part} names no part of the network; its parts are named such as "
                f"blocks.0, {names[-1]} or squeeze_excite, where it has one"
            )
        found += within
    return list(dict.fromkeys(found))
