"""Blocks in their places: what the stubs add to a network, its boundaries take away."""

from itertools import chain

import numpy as np
import onnxruntime as ort
import pytest

from latency.context import (
    STUB_CHANNELS,
    After,
    between_stubs,
    boundary,
    context_after,
    walk_in_context,
)
from search_spaces import load_seed, seed_names
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    PoolKind,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.costs import count_block_costs
from search_spaces.lowering import LoweredBlock, lower
from search_spaces.onnx_graph import build_blocks_onnx
from search_spaces.ops import Conv, GlobalPool
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape

MAP = TensorShape(8, 6, 6)
SQUEEZE = SqueezeExcite(channels=4)


@pytest.mark.parametrize(
    ("block", "after"),
    [
        (ConvNormAct(out_channels=8, kernel=3), After.CONV),
        (ConvNormAct(out_channels=8, kernel=3, squeeze_excite=SQUEEZE), After.PLAIN),
        (DepthwiseSeparable(out_channels=8, kernel=3, squeeze_excite=SQUEEZE), After.CONV),
        (
            InvertedResidual(expanded_channels=16, out_channels=8, kernel=3, skip=Skip.IDENTITY),
            After.CONV,
        ),
        (Pool(kind=PoolKind.MAX, kernel=3, stride=2), After.PLAIN),
        (ShuffleV2Unit(branch_channels=4, out_channels=8, kernel=3, stride=1), After.SHUFFLE),
        (ClassifierHead(num_classes=10), After.PLAIN),
    ],
)
def test_what_follows_a_block_stands_after_what_wrote_its_map(block: Block, after: After) -> None:
    assert context_after(block, MAP) is after


def test_a_network_begins_after_the_image_and_goes_on_after_each_block() -> None:
    network = load_seed("shufflenet_v2_x1_0", resolution=64)
    steps = walk_in_context(network)
    assert [(block, shape) for block, shape, _ in steps] == list(network.walk())
    # Stem, pool, 16 units that end in a shuffle, the last convolution, the head.
    assert [after for *_, after in steps] == [
        *(After.IMAGE, After.CONV, After.PLAIN),
        *[After.SHUFFLE] * 16,
        After.CONV,
    ]


@pytest.mark.parametrize("name", seed_names())
def test_blocks_less_their_boundaries_are_the_network(name: str) -> None:
    network = load_seed(name, resolution=96)
    steps = walk_in_context(network)
    added = [_madds(between_stubs(*step)) for step in steps]
    taken = [_madds(boundary(shape, after)) for _, shape, after in steps[1:]]
    assert sum(added) - sum(taken) == _madds(lower(network))
    # So is the number of times that each kind of operation runs.
    ops = [_kinds(between_stubs(*step)) for step in steps]
    stubs = [_kinds(boundary(shape, after)) for _, shape, after in steps[1:]]
    left = sorted(chain.from_iterable(ops))
    for kind in chain.from_iterable(stubs):
        left.remove(kind)
    assert left == sorted(_kinds(lower(network)))


def _madds(blocks: list[LoweredBlock] | tuple[LoweredBlock, ...]) -> int:
    return sum(count_block_costs(block).madds for block in blocks)


def _kinds(blocks: list[LoweredBlock] | tuple[LoweredBlock, ...]) -> list[str]:
    return [type(op).__name__ for block in blocks for op in block.ops]


def test_the_first_block_reads_the_image_itself_and_the_head_writes_the_logits() -> None:
    stem, end = between_stubs(ConvNormAct(out_channels=8, kernel=3), MAP, After.IMAGE)
    assert stem.input_shape == MAP
    assert isinstance(end.ops[-1], GlobalPool)
    stub, _ = between_stubs(ClassifierHead(num_classes=10), MAP, After.CONV)
    assert stub.input_shape == TensorShape(STUB_CHANNELS, 6, 6)
    assert isinstance(stub.ops[-1], Conv)


@pytest.mark.parametrize("after", [After.CONV, After.PLAIN, After.SHUFFLE])
def test_a_block_between_its_stubs_runs(after: After) -> None:
    block = InvertedResidual(expanded_channels=16, out_channels=12, kernel=3, stride=2)
    for blocks, channels in (
        (between_stubs(block, MAP, after), 12),
        (boundary(MAP, after), 8),
        (between_stubs(block, MAP, after, precision=Precision.INT8), STUB_CHANNELS),
        (boundary(MAP, after, precision=Precision.INT8), STUB_CHANNELS),
    ):
        model = build_blocks_onnx("stubs", blocks)
        session = ort.InferenceSession(model.SerializeToString())
        image = np.ones((1, STUB_CHANNELS, 6, 6), np.float32)
        (output,) = session.run(None, {session.get_inputs()[0].name: image})
        assert output.size == channels


def test_there_is_no_boundary_before_the_image() -> None:
    with pytest.raises(ValueError, match="no boundary before the image"):
        boundary(TensorShape(3, 8, 8), After.IMAGE)
