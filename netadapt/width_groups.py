"""Which channel counts must change together, derived from the description alone.

A *width group* is a number of channels that can be chosen freely, with every field of every block
that it is part of. Narrowing it by ``k`` makes each of these fields smaller by ``k``. For most
networks that is plain: blocks with a skip write the width that they read, so the blocks of a chain
share one group; an expansion is a group of its own, with its depthwise layer and its gate.

A field can be part of several groups. ShuffleNetV1's stride-2 units hand on what they read beside
what they make, so that the output of a stage is the stem's channels and those of every stage so
far: channels of the stem are part of all units, and a stage adds a group of its own. That is why
groups are differences of fields and not values of them: no other count ever grows.

This walks blocks, not operations: which *fields* exist is a matter of blocks. Which *weights*
belong to a channel is one of operations (``channels.py``), and needs no groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import lcm
from typing import assert_never

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    check_integer,
)
from search_spaces.shapes import shuffle_v1_branch_channels

OUT_CHANNELS = "out_channels"


class WidthKind(StrEnum):
    """What the channels of a group are.

    ``expansion`` and ``bottleneck`` are MobileNetV3's two kinds (section 4.2): the inside of one
    inverted residual, and what inverted residuals hand on. ``layer`` is any other width: of the
    stem, of MobileNetV1's layers, inside and between ShuffleNets' units, of the last layers.
    """

    EXPANSION = "expansion"
    BOTTLENECK = "bottleneck"
    LAYER = "layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A field that counts channels: ``blocks[block].<field>``."""

    block: int
    field: str

    def __str__(self) -> str:
        return f"blocks.{self.block}.{self.field}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WidthGroup:
    """Channels whose number is free.

    Attributes:
        kind: what they are.
        width: how many there are now.
        multiple: what their number can change by: 1, or what groups and halves of ShuffleNets need.
        slots: the fields that they are part of, in order of the blocks.
    """

    kind: WidthKind
    width: int
    multiple: int
    slots: tuple[Slot, ...]

    def __str__(self) -> str:
        more = len(self.slots) - 1
        return f"{self.slots[0]}{f' and {more} more' if more else ''}"

    def narrower_widths(self, divisor: int) -> Iterator[int]:
        """The widths below this one, widest first, in steps of ``step(divisor)``."""
        step, rest = self.step(divisor), self.width % self.multiple
        for steps in range((self.width - rest - 1) // step, 0, -1):
            yield rest + steps * step

    def step(self, divisor: int) -> int:
        """The least that is no less than ``divisor`` and that ``multiple`` divides."""
        return -(-divisor // self.multiple) * self.multiple

    def narrowed(self, architecture: Architecture, width: int) -> dict[int, Block]:
        """The group's blocks, by index, with ``width`` of its channels.

        Raises:
            ValueError: ``width`` is not in 1..the group's width, or not what ``multiple`` allows.
        """
        check_integer("WidthGroup", "width", width, 1, self.width)
        cut = self.width - width
        if cut % self.multiple:
            raise ValueError(
                f"the width of {self} must change by a multiple of {self.multiple}, but got "
                f"{width} for {self.width}; `narrower_widths` lists what is allowed"
            )
        return {
            slot.block: _narrow(architecture.blocks[slot.block], slot, cut) for slot in self.slots
        }


def _narrow(block: Block, slot: Slot, cut: int) -> Block:
    return replace(block, **{slot.field: getattr(block, slot.field) - cut})


def width_groups(architecture: Architecture) -> tuple[WidthGroup, ...]:
    """Every group of a network, in the order in which its first channels are made.

    The classes, the channels of the image, and what is added to those are no groups. Nor are
    the bottlenecks of squeeze-and-excite, which follow what they gate (``edits.py``).
    """
    walk = _Walk()
    for index, (block, shape) in enumerate(architecture.walk()):
        match block:
            case ConvNormAct() | DepthwiseSeparable():
                walk.write(index, block.out_channels, is_kept=block.skip is not Skip.NONE)
            case InvertedResidual():
                walk.open(index, "expanded_channels", block.expanded_channels, WidthKind.EXPANSION)
                walk.write(
                    index,
                    block.out_channels,
                    is_kept=block.skip is not Skip.NONE,
                    kind=WidthKind.BOTTLENECK,
                )
            case ShuffleV1Unit():
                walk.shuffle_v1_unit(index, block, shape.channels)
            case ShuffleV2Unit():
                walk.open(index, "branch_channels", block.branch_channels)
                walk.write(index, block.out_channels, is_kept=block.stride == 1)
                walk.require(2)
            case ClassifierHead():
                if block.hidden_channels is not None:
                    walk.open(index, "hidden_channels", block.hidden_channels)
            case Pool():
                pass
            case _:
                assert_never(block)
    return tuple(draft.finished() for draft in walk.drafts)


@dataclass(slots=True)
class _Draft:
    """A group whose blocks are still being found."""

    width: int
    kind: WidthKind
    multiple: int = 1
    slots: list[Slot] = field(default_factory=list)

    def finished(self) -> WidthGroup:
        return WidthGroup(
            kind=self.kind, width=self.width, multiple=self.multiple, slots=tuple(self.slots)
        )


@dataclass(slots=True)
class _Walk:
    """The groups so far, and ``stream``: those that the current map consists of, in order."""

    drafts: list[_Draft] = field(default_factory=list)
    stream: list[_Draft] = field(default_factory=list)

    def open(self, index: int, name: str, width: int, kind: WidthKind = WidthKind.LAYER) -> _Draft:
        """A group that begins in this field."""
        draft = _Draft(width, kind, slots=[Slot(block=index, field=name)])
        self.drafts.append(draft)
        return draft

    def write(
        self, index: int, width: int, *, is_kept: bool, kind: WidthKind = WidthKind.LAYER
    ) -> None:
        """A block's output: the channels that it reads, or others."""
        if not is_kept:
            self.stream = [self.open(index, OUT_CHANNELS, width, kind)]
            return
        self._extend(index)
        if kind is WidthKind.BOTTLENECK:
            for draft in self.stream:
                draft.kind = kind

    def shuffle_v1_unit(self, index: int, block: ShuffleV1Unit, input_channels: int) -> None:
        bottleneck = self.open(index, "bottleneck_channels", block.bottleneck_channels)
        bottleneck.multiple = lcm(block.groups, block.input_groups)
        self.require(block.input_groups)
        self._extend(index)
        if block.stride == 1:
            self.require(block.groups)
        else:
            branch = shuffle_v1_branch_channels(block, input_channels)
            made = self.open(index, OUT_CHANNELS, branch)
            made.multiple = block.groups
            self.stream = [*self.stream, made]

    def require(self, multiple: int) -> None:
        """The map's channels are cut into so many equal parts."""
        for draft in self.stream:
            draft.multiple = lcm(draft.multiple, multiple)

    def _extend(self, index: int) -> None:
        """The map's channels are part of this block's output, too."""
        for draft in self.stream:
            draft.slots.append(Slot(block=index, field=OUT_CHANNELS))
