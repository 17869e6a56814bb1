"""Which channel becomes which, on layers made by hand."""

from netadapt.channel_match import match_channels
from netadapt.channels import Channel, TracedLayer
from search_spaces.ops import Conv
from search_spaces.shapes import TensorShape

Channels = tuple[Channel, ...]


def layer(name: str, reads: Channels, writes: Channels, groups: int = 1) -> TracedLayer:
    op = Conv(
        name=name,
        inputs=("input",),
        output_shape=TensorShape(len(writes), 1, 1),
        in_channels=len(reads),
        kernel=1,
        stride=1,
        groups=groups,
        norm=None,
    )
    return TracedLayer(op=op, reads=reads, writes=writes, is_depthwise=False, is_gate=False)


def layers(*several: TracedLayer) -> dict[str, TracedLayer]:
    return {each.op.name: each for each in several}


def test_the_most_important_stay_in_their_order() -> None:
    old = layers(layer("first", (0,), (1, 2, 3, 4)), layer("second", (1, 2, 3, 4), (5,)))
    new = layers(layer("first", (0,), (1, 2)), layer("second", (1, 2), (5,)))
    matched = match_channels(old, new, {1: 2.0, 2: 9.0, 3: 1.0, 4: 3.0})
    assert matched.sources == {0: 0, 1: 2, 2: 4, 5: 5}
    assert (matched.moved, matched.dropped) == (set(), {1, 3})


def test_of_equal_ones_the_earlier_stay() -> None:
    old = layers(layer("first", (0,), (1, 2, 3)))
    new = layers(layer("first", (0,), (1, 2)))
    assert match_channels(old, new, {}).sources == {0: 0, 1: 1, 2: 2}


def test_every_group_keeps_its_own() -> None:
    old = layers(layer("first", (0, 1), (2, 3, 4, 5), groups=2))
    new = layers(layer("first", (0, 1), (2, 3), groups=2))
    matched = match_channels(old, new, {2: 1.0, 3: 2.0, 4: 8.0, 5: 7.0})
    assert matched.sources == {0: 0, 1: 1, 2: 3, 3: 4}


def test_a_place_that_lacks_channels_takes_those_with_most_layers_in_common() -> None:
    """Channel 3 is read in the second halves of p and q, as it is wanted; channel 2 only in r's."""
    old = layers(
        layer("make", (0,), (2, 3)),
        layer("p", (2, 3), (10, 11), groups=2),
        layer("q", (2, 3), (12, 13), groups=2),
        layer("r", (3, 2), (14, 15), groups=2),
    )
    new = layers(
        layer("make", (0,), (3,)),
        layer("other", (0,), (9,)),
        layer("p", (9, 3), (10, 11), groups=2),
        layer("q", (9, 3), (12, 13), groups=2),
        layer("r", (9, 3), (14, 15), groups=2),
    )
    matched = match_channels(old, new, {2: 5.0, 3: 1.0})
    assert matched.sources[3] == 3
    assert matched.moved == {3}
    assert matched.dropped == {2}
    assert 9 not in matched.sources


def test_channels_of_other_layers_are_no_substitute() -> None:
    old = layers(layer("a", (0,), (1, 2)), layer("b", (0,), (3,)))
    new = layers(layer("a", (0,), (1,)), layer("b", (0,), (3, 4)))
    matched = match_channels(old, new, {})
    assert matched.sources == {0: 0, 1: 1, 3: 3}


def test_layers_that_are_gone_do_not_count() -> None:
    """A gate that is left out takes nothing from what it multiplied."""
    old = layers(layer("first", (0,), (1, 2)), layer("gate", (1,), (1,)))
    new = layers(layer("first", (0,), (1, 2)))
    assert match_channels(old, new, {}).sources == {0: 0, 1: 1, 2: 2}
