"""Which channels are one, on networks small enough to say so by hand."""

import pytest

from netadapt.channels import Channel, TracedLayer, depthwise_names, trace_channels
from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.lowering import lower


def traced(*blocks: Block) -> dict[str, TracedLayer]:
    head = ClassifierHead(num_classes=2)
    architecture = Architecture(name="small", blocks=(*blocks, head), resolution=32)
    lowered = lower(architecture)
    return {layer.op.name: layer for layer in trace_channels(lowered, depthwise_names(lowered))}


def test_plain_layers_hand_on_what_they_make() -> None:
    layers = traced(ConvNormAct(out_channels=2, kernel=3), ConvNormAct(out_channels=3, kernel=1))
    assert layers["blocks.0.unit.conv"].reads == (0, 1, 2)
    assert layers["blocks.0.unit.conv"].writes == layers["blocks.1.unit.conv"].reads == (3, 4)
    assert layers["blocks.2.classifier"].reads == (5, 6, 7)


def test_a_chain_of_skips_has_the_channels_of_its_first_layer() -> None:
    block = InvertedResidual(
        expanded_channels=4,
        out_channels=2,
        kernel=3,
        skip=Skip.IDENTITY,
        squeeze_excite=SqueezeExcite(channels=1),
    )
    layers = traced(ConvNormAct(out_channels=2, kernel=3), block, block)
    stream = layers["blocks.0.unit.conv"].writes
    for index in (1, 2):
        assert layers[f"blocks.{index}.project.conv"].writes == stream
        expanded = layers[f"blocks.{index}.expand.conv"].writes
        assert len(expanded) == 4
        for path in ("depthwise.conv", "squeeze_excite.expand"):
            assert layers[f"blocks.{index}.{path}"].writes == expanded
        for path in ("depthwise.conv", "squeeze_excite.reduce", "project.conv"):
            assert layers[f"blocks.{index}.{path}"].reads == expanded
    assert layers["blocks.1.expand.conv"].writes != layers["blocks.2.expand.conv"].writes
    assert layers["blocks.3.classifier"].reads == stream
    assert {name.split(".", 2)[2] for name, layer in layers.items() if layer.is_gate} == {
        "squeeze_excite.expand"
    }
    assert {name.split(".", 2)[2] for name, layer in layers.items() if layer.is_depthwise} == {
        "depthwise.conv"
    }


def test_a_convolution_that_adds_to_its_input_is_not_depthwise() -> None:
    layers = traced(
        ConvNormAct(out_channels=2, kernel=3),
        ConvNormAct(out_channels=2, kernel=3, skip=Skip.IDENTITY),
    )
    added = layers["blocks.1.unit.conv"]
    assert added.reads == added.writes
    assert not added.is_depthwise


def test_shufflenet_v2_halves_and_shuffles() -> None:
    """Figure 3: channels 0..3 of a unit are a, e, b, f; half of them, a and e, are left alone."""
    stride_2 = ShuffleV2Unit(branch_channels=3, out_channels=4, stride=2)
    stride_1 = ShuffleV2Unit(branch_channels=3, out_channels=4)
    layers = traced(ConvNormAct(out_channels=2, kernel=3), stride_2, stride_1)
    a, b = layers["blocks.1.left_pointwise.conv"].writes
    e, f = layers["blocks.1.expand.conv"].writes
    assert layers["blocks.2.reduce.conv"].reads == (b, f)
    g, h = layers["blocks.2.expand.conv"].writes
    assert layers["blocks.3.classifier"].reads == (a, g, e, h)


def test_shufflenet_v1_adds_and_concatenates() -> None:
    stride_2 = ShuffleV1Unit(
        bottleneck_channels=4, out_channels=6, groups=2, input_groups=1, stride=2
    )
    stride_1 = ShuffleV1Unit(bottleneck_channels=4, out_channels=6, groups=2, input_groups=2)
    layers = traced(ConvNormAct(out_channels=2, kernel=3), stride_2, stride_1)
    stem, made = layers["blocks.0.unit.conv"].writes, layers["blocks.1.expand.conv"].writes
    assert layers["blocks.2.reduce.conv"].reads == (*stem, *made)
    assert layers["blocks.2.expand.conv"].writes == (*stem, *made)
    one, two, three, four = layers["blocks.2.reduce.conv"].writes
    assert layers["blocks.2.expand.conv"].reads == (one, three, two, four)


def test_groups_are_part_of_a_place() -> None:
    unit = ShuffleV1Unit(bottleneck_channels=4, out_channels=4, groups=2, input_groups=2)
    layer = traced(ConvNormAct(out_channels=4, kernel=3), unit)["blocks.1.reduce.conv"]
    groups: dict[bool, list[int]] = {False: [], True: []}
    for _, is_made, group in layer.places():
        groups[is_made].append(group)
    assert groups == {False: [0, 0, 1, 1], True: [0, 0, 1, 1]}


@pytest.mark.parametrize("name", seed_names())
def test_no_layer_reads_or_writes_a_channel_twice(name: str) -> None:
    lowered = lower(load_seed(name))
    for layer in trace_channels(lowered, depthwise_names(lowered)):
        for channels in (layer.reads, layer.writes):
            assert _are_different(channels)


def _are_different(channels: tuple[Channel, ...]) -> bool:
    return len(set(channels)) == len(channels)
