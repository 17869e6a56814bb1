"""Where the initialisers of a graph come from: a ``state_dict``, a random generator, or nowhere."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from search_spaces.costs import NORM_COUNT, NORM_PARTS, state_shapes, weight_shapes
from search_spaces.lowering import LoweredBlock
from search_spaces.ops import Conv, Linear, Op

FloatArray = NDArray[np.float32]
WeightSource = Callable[[Conv | Linear], tuple[TensorProto, TensorProto]]
"""An operation → its weight and bias as initialisers, ``<operation>.weight`` and ``.bias``."""


def no_weights(op: Conv | Linear) -> tuple[TensorProto, TensorProto]:
    """Initialisers of the right shapes that lie outside the graph, at a place yet to be said."""
    weight, bias = weight_shapes(op)
    return _outside(f"{op.name}.weight", weight), _outside(f"{op.name}.bias", (bias,))


def _outside(name: str, shape: tuple[int, ...]) -> TensorProto:
    return TensorProto(
        name=name,
        dims=shape,
        data_type=TensorProto.FLOAT,
        data_location=TensorProto.EXTERNAL,
    )


def random_weights(rng: np.random.Generator) -> WeightSource:
    """Weights that keep the variance through a ReLU (He et al., 2015), and biases of zero."""

    def draw(op: Conv | Linear) -> tuple[TensorProto, TensorProto]:
        shape, bias = weight_shapes(op)
        fan_in = math.prod(shape[1:])
        weight = rng.standard_normal(shape, np.float32) * np.float32((2 / fan_in) ** 0.5)
        return _tensors(op, weight, np.zeros(bias, np.float32))

    return draw


def trained_weights(
    blocks: Iterable[LoweredBlock], weights: Mapping[str, Any], epsilon: float
) -> WeightSource:
    """A ``state_dict``'s weights, batch norms folded into the convolutions.

    Raises:
        ValueError: a weight is missing, left over, or (when it is asked for) has another shape.
    """
    expected = _without_counts(state_shapes(blocks))
    given = _without_counts(weights)
    if missing := sorted(expected - given):
        raise ValueError(f"the weights lack {missing[0]!r} ({len(missing)} missing in all)")
    if unknown := sorted(given - expected):
        raise ValueError(
            f"the weights hold {unknown[0]!r}, which the network does not have "
            f"({len(unknown)} left over in all); are they another network's?"
        )

    def read(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        array = np.asarray(weights[name])
        if array.shape != shape:
            raise ValueError(f"weight {name!r} must have shape {shape}, but has {array.shape}")
        return array

    def fold(op: Conv | Linear) -> tuple[TensorProto, TensorProto]:
        shape, length = weight_shapes(op)
        weight = read(f"{op.name}.weight", shape)
        if isinstance(op, Linear) or op.norm is None:
            bias = read(f"{op.name}.bias", (length,))
        else:
            gamma, beta, mean, variance = (
                read(f"{op.norm}.{part}", (length,)).astype(np.float64) for part in NORM_PARTS
            )
            scale = gamma / np.sqrt(variance + epsilon)
            weight = weight * scale[:, None, None, None]
            bias = beta - mean * scale
        return _tensors(
            op, weight.astype(np.float32, copy=False), bias.astype(np.float32, copy=False)
        )

    return fold


def _tensors(op: Op, weight: FloatArray, bias: FloatArray) -> tuple[TensorProto, TensorProto]:
    return (
        numpy_helper.from_array(weight, f"{op.name}.weight"),
        numpy_helper.from_array(bias, f"{op.name}.bias"),
    )


def _without_counts(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.endswith(f".{NORM_COUNT}")}
