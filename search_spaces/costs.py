"""Costs that follow from the description alone.

Conventions, beside the numbers they define:

- ``madds``: one fused multiply-add is one MAdd. Convolutions and linear layers count; bias,
  normalisation, activation, pooling and element-wise operations do not.
- ``params``: what is trained: weights, biases, and two values a channel for a batch norm.
- ``memory_access``: ShuffleNetV2's memory access cost (MAC, section 2), in values of the tensor
  type, at batch 1: a convolution reads its input, writes its output and reads its weights,
  ``hw(c1 + c2) + k²·c1·c2/g``. Element-wise and copying operations read their inputs and write
  their output. Normalisation and activation are fused into what stands before them and cost none.
- ``peak_activation_bytes``: the most that is alive at once, at batch 1, when the operations run in
  order, activations work in place and a tensor is freed after its last use. 4 bytes a value.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import assert_never

from search_spaces.architecture import Architecture
from search_spaces.lowering import LoweredBlock, lower
from search_spaces.ops import (
    Activate,
    Add,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    GlobalPool,
    Linear,
    Multiply,
    Op,
    PoolWindow,
)

BYTES_PER_VALUE = 4

NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
NORM_COUNT = "num_batches_tracked"
"""What torch keeps of a batch norm: values per channel, and a number that no output depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Costs of a block or of a network; the module's docstring defines each."""

    madds: int
    params: int
    memory_access: int
    peak_activation_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCosts:
    """Costs of every block, in order, and of the whole network."""

    blocks: tuple[Costs, ...]
    total: Costs

    @property
    def madds(self) -> int:
        return self.total.madds

    @property
    def params(self) -> int:
        return self.total.params

    @property
    def memory_access(self) -> int:
        return self.total.memory_access

    @property
    def peak_activation_bytes(self) -> int:
        return self.total.peak_activation_bytes


def count_costs(architecture: Architecture) -> NetworkCosts:
    """MAdds, parameters, memory access cost and peak activation memory, per block and in total."""
    blocks = tuple(count_block_costs(block) for block in lower(architecture))
    return NetworkCosts(blocks=blocks, total=_sum_costs(blocks))


def count_block_costs(block: LoweredBlock) -> Costs:
    """The costs of one lowered block."""
    return Costs(
        madds=sum(_op_madds(op) for op in block.ops),
        params=sum(_op_params(op) for op in block.ops),
        memory_access=_block_memory_access(block),
        peak_activation_bytes=BYTES_PER_VALUE * _peak_values(block),
    )


def _sum_costs(blocks: Iterable[Costs]) -> Costs:
    blocks = tuple(blocks)
    return Costs(
        madds=sum(b.madds for b in blocks),
        params=sum(b.params for b in blocks),
        memory_access=sum(b.memory_access for b in blocks),
        # Only one tensor crosses from a block to the next, so no peak spans two of them.
        peak_activation_bytes=max(b.peak_activation_bytes for b in blocks),
    )


def weight_shapes(op: Conv | Linear) -> tuple[tuple[int, ...], int]:
    """The weight's shape, ``(out, in/groups, k, k)`` or ``(out, in)``, and the bias's length."""
    out_channels = op.output_shape.channels
    match op:
        case Conv():
            return (out_channels, op.in_channels // op.groups, op.kernel, op.kernel), out_channels
        case Linear():
            return (out_channels, op.in_channels), out_channels
        case _:
            assert_never(op)


def state_shapes(blocks: Iterable[LoweredBlock]) -> dict[str, tuple[int, ...]]:
    """What the ``state_dict`` of a network holds, in the order of its layers: shapes by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    for op in (op for block in blocks for op in block.ops):
        if not isinstance(op, Conv | Linear):
            continue
        weight, length = weight_shapes(op)
        shapes[f"{op.name}.weight"] = weight
        if isinstance(op, Linear) or op.norm is None:
            shapes[f"{op.name}.bias"] = (length,)
        else:
            shapes |= {f"{op.norm}.{part}": (length,) for part in NORM_PARTS}
            shapes[f"{op.norm}.{NORM_COUNT}"] = ()
    return shapes


def _op_madds(op: Op) -> int:
    if not isinstance(op, Conv | Linear):
        return 0
    weight, _ = weight_shapes(op)
    return prod(weight) * op.output_shape.pixels


def _op_params(op: Op) -> int:
    if not isinstance(op, Conv | Linear):
        return 0
    weight, bias = weight_shapes(op)
    normalised = isinstance(op, Conv) and op.norm is not None
    return prod(weight) + (2 * bias if normalised else bias)


def _block_memory_access(block: LoweredBlock) -> int:
    values = {block.input_name: block.input_shape.values}
    total = 0
    for op in block.ops:
        values[op.name] = op.output_shape.values
        moved = sum(values[name] for name in op.inputs) + op.output_shape.values
        match op:
            case Conv() | Linear():
                total += moved + prod(weight_shapes(op)[0])
            case ChannelSlice():
                total += 2 * op.output_shape.values
            case Add() | Multiply() | Concat() | ChannelShuffle() | PoolWindow() | GlobalPool():
                total += moved
            case Activate():
                pass
            case _:
                assert_never(op)
    return total


def _peak_values(block: LoweredBlock) -> int:
    """Liveness over the block's operations, its input and output included."""
    last_use = {block.output_name: len(block.ops)}
    for index, op in enumerate(block.ops):
        for name in op.inputs:
            last_use[name] = max(index, last_use.get(name, index))
    alive = {block.input_name: block.input_shape.values}
    peak = block.input_shape.values
    for index, op in enumerate(block.ops):
        if isinstance(op, Activate) and last_use[op.inputs[0]] == index:
            del alive[op.inputs[0]]
        alive[op.name] = op.output_shape.values
        peak = max(peak, sum(alive.values()))
        for name in set(op.inputs) & alive.keys():
            if last_use[name] == index:
                del alive[name]
    return peak
