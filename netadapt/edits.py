"""A network with some blocks changed or left out: what of it is new.

What a block costs depends on itself, on the map that it reads and on what wrote that. So a change
is followed from its first block only until the map is again what it was: a smaller expansion is
one block, a smaller bottleneck those that share it and the one that reads it last.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from latency.context import context_after, walk_in_context
from latency.reach import Step
from netadapt.width_groups import WidthGroup
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block, ConvNormAct, DepthwiseSeparable, InvertedResidual
from search_spaces.scaling import round_channels
from search_spaces.shapes import output_shape

Edits: TypeAlias = Mapping[int, Block | None]
"""What stands in the place of a block, by its index; ``None`` leaves the block out."""

_SQUEEZE_SHARE = 4


def edited_steps(steps: Sequence[Step], edits: Edits) -> Iterator[tuple[int, Step | None]]:
    """The steps that a change makes different, by index in ``steps``; ``None`` for one left out.

    A squeeze-and-excite bottleneck that is a quarter of what it gates (MobileNetV3, section 5.3)
    or of the block's input (MnasNet) stays one.

    Args:
        steps: the network before, as ``walk_in_context`` gives it.
        edits: at least one block.

    Raises:
        ValueError: a block cannot follow the one before it.
    """
    first, last = min(edits), max(edits)
    _, shape, after = steps[first]
    for index in range(first, len(steps)):
        old, old_shape, old_after = steps[index]
        if index > last and (shape, after) == (old_shape, old_after):
            return
        block = edits.get(index, old)
        if block is None:
            yield index, None
            continue
        block = _with_squeeze_followed(block, shape.channels, old, old_shape.channels)
        yield index, (block, shape, after)
        shape, after = output_shape(block, shape), context_after(block, shape)


def _with_squeeze_followed(block: Block, channels: int, old: Block, old_channels: int) -> Block:
    """The block with the squeeze-and-excite that goes with its widths; the last two: as it was."""
    gated, old_gated = _gated_channels(block, channels), _gated_channels(old, old_channels)
    if (gated, channels) == (old_gated, old_channels):
        return block
    if not isinstance(block, ConvNormAct | DepthwiseSeparable | InvertedResidual):
        return block
    squeeze = block.squeeze_excite
    if squeeze is None:
        return block
    if squeeze.channels == round_channels(old_gated / _SQUEEZE_SHARE):
        width = round_channels(gated / _SQUEEZE_SHARE)
    elif squeeze.channels == old_channels // _SQUEEZE_SHARE:
        width = max(1, channels // _SQUEEZE_SHARE)
    else:
        return block
    return replace(block, squeeze_excite=replace(squeeze, channels=width))


def _gated_channels(block: Block, input_channels: int) -> int:
    """How many channels the block's squeeze-and-excite multiplies, if it has one."""
    match block:
        case ConvNormAct():
            return block.out_channels
        case InvertedResidual():
            return block.expanded_channels
        case _:
            return input_channels


def with_steps(
    architecture: Architecture, changed: Iterable[tuple[int, Step | None]]
) -> tuple[Architecture, tuple[int, ...]]:
    """The network in which some steps are different, under its old name.

    Returns:
        the network, and of each of its blocks the index that it had before.
    """
    blocks: dict[int, Block | None] = dict(enumerate(architecture.blocks))
    blocks |= {index: None if step is None else step[0] for index, step in changed}
    kept = {index: block for index, block in blocks.items() if block is not None}
    return replace(architecture, blocks=tuple(kept.values())), tuple(kept)


def narrow(architecture: Architecture, group: WidthGroup, width: int) -> Architecture:
    """The network with ``width`` channels in one of its ``width_groups``.

    Raises:
        ValueError: ``width`` is not in 1..the group's width, or not what ``multiple`` allows.
    """
    edits = group.narrowed(architecture, width)
    return with_steps(architecture, edited_steps(walk_in_context(architecture), edits))[0]
