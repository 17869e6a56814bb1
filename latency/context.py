"""A block where it stands: what wrote its input, and the stubs that stand for its neighbours.

A block alone reads a map that a person hands over and pays for bringing it into the runtime's own
layout; inside a network it does neither. So a block is timed between two stubs: a 1×1 convolution
from a few channels makes its input inside the runtime, and a global pool consumes its output. The
stubs alone, on the same map, are a *boundary*. With S the latency of what begins with a stub or
ends in one,

    network = S(block 1) + Σ over the others of S(block) − S(boundary before it)

in which every stub, and what a run costs by itself, is added and subtracted once.
"""

from enum import StrEnum

from search_spaces.architecture import Architecture
from search_spaces.blocks import Block, ClassifierHead
from search_spaces.lowering import INPUT, LoweredBlock, lower_block
from search_spaces.ops import (
    Activate,
    Add,
    ChannelShuffle,
    Conv,
    GlobalPool,
    Multiply,
    Op,
)
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape, output_shape

STUB_CHANNELS = 4
_LAYOUT_CHANNELS = 16
"""So many channels lie together in a blocked layout (AVX-512; 8 elsewhere), of one group only."""
_STUB, _STUB_END = "stub", "stub_end"


class After(StrEnum):
    """What wrote the map that a block reads. It decides the layout that the map is handed over in.

    A runtime keeps the result of a dense or a depthwise convolution in a layout of its own:
    onnxruntime in blocks of channels (NCHWc) where float, channels last where int8. A channel
    shuffle is always in the plain layout. Whatever else there is, is in the plain layout where
    float, and takes on that of its neighbours where int8.
    """

    IMAGE = "image"
    CONV = "conv"
    PLAIN = "plain"
    SHUFFLE = "shuffle"


def context_after(block: Block, input_shape: TensorShape) -> After:
    """What the block that follows ``block`` stands after."""
    lowered = lower_block(block, input_shape)
    ops = {op.name: op for op in lowered.ops}
    op: Op | None = lowered.ops[-1]
    while isinstance(op, Add | Activate):  # they leave the layout as it is
        op = ops.get(op.inputs[0])
    if isinstance(op, ChannelShuffle):
        return After.SHUFFLE
    return After.CONV if isinstance(op, Conv) and _has_layout(op) else After.PLAIN


def _has_layout(op: Conv) -> bool:
    """Whether runtimes have a layout of their own for what the convolution writes."""
    if op.groups in (1, op.in_channels):
        return True
    sizes = op.in_channels // op.groups, op.output_shape.channels // op.groups
    return all(size % _LAYOUT_CHANNELS == 0 for size in sizes)


def walk_in_context(architecture: Architecture) -> list[tuple[Block, TensorShape, After]]:
    """Each block of a network with the shape of its input and what wrote that."""
    steps: list[tuple[Block, TensorShape, After]] = []
    after = After.IMAGE
    for block, shape in architecture.walk():
        steps.append((block, shape, after))
        after = context_after(block, shape)
    return steps


def between_stubs(
    block: Block,
    input_shape: TensorShape,
    after: After,
    *,
    precision: Precision = Precision.FP32,
) -> list[LoweredBlock]:
    """The block with the stubs that its place in a network asks for."""
    stubs = [] if after is After.IMAGE else [_stub(input_shape, after)]
    source = stubs[-1].output_name if stubs else INPUT
    lowered = [*stubs, lower_block(block, input_shape, input_name=source)]
    if not isinstance(block, ClassifierHead):
        shape = output_shape(block, input_shape)
        lowered.append(_end(lowered[-1].output_name, shape, precision))
    return lowered


def boundary(
    shape: TensorShape, after: After, *, precision: Precision = Precision.FP32
) -> list[LoweredBlock]:
    """The stubs alone.

    Raises:
        ValueError: ``after`` is the image, before which there is nothing.
    """
    if after is After.IMAGE:
        raise ValueError("there is no boundary before the image")
    stub = _stub(shape, after)
    return [stub, _end(stub.output_name, shape, precision)]


def _stub(shape: TensorShape, after: After) -> LoweredBlock:
    conv = Conv(
        name=f"{_STUB}.conv",
        inputs=(INPUT,),
        output_shape=shape,
        in_channels=STUB_CHANNELS,
        kernel=1,
        stride=1,
        groups=1,
        norm=f"{_STUB}.norm",
    )
    ops: list[Op] = [conv]
    name = f"{_STUB}.{after}"
    if after is After.PLAIN:
        # onnxruntime multiplies a map by a value a channel in the plain layout, or in any if int8.
        one = TensorShape(shape.channels, 1, 1)
        pool = GlobalPool(name=f"{_STUB}.pool", inputs=(conv.name,), output_shape=one)
        gate = Multiply(name=name, inputs=(conv.name, pool.name), output_shape=shape)
        ops += [pool, gate]
    elif after is After.SHUFFLE:
        groups = next(n for n in range(2, shape.channels + 1) if shape.channels % n == 0)
        ops.append(
            ChannelShuffle(name=name, inputs=(conv.name,), output_shape=shape, groups=groups)
        )
    source = TensorShape(STUB_CHANNELS, shape.height, shape.width)
    return LoweredBlock(_STUB, INPUT, source, tuple(ops))


def _end(source: str, shape: TensorShape, precision: Precision) -> LoweredBlock:
    ops: list[Op] = []
    reads, channels = source, shape.channels
    if precision is Precision.INT8:
        # onnxruntime transposes what int8 kernels read; a transpose before the pool would stay,
        # one before a convolution is taken up, as it is inside a network.
        conv = Conv(
            name=f"{_STUB_END}.conv",
            inputs=(source,),
            output_shape=shape.with_channels(STUB_CHANNELS),
            in_channels=shape.channels,
            kernel=1,
            stride=1,
            groups=1,
            norm=f"{_STUB_END}.norm",
        )
        ops.append(conv)
        reads, channels = conv.name, STUB_CHANNELS
    pooled = TensorShape(channels, 1, 1)
    ops.append(GlobalPool(name=f"{_STUB_END}.pool", inputs=(reads,), output_shape=pooled))
    return LoweredBlock(_STUB_END, source, shape, tuple(ops))
