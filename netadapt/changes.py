"""Where a network can become smaller, and by which changes, from the least to the most."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TypeAlias, assert_never

from latency.reach import Step
from netadapt.edits import Edits, edited_steps
from netadapt.width_groups import width_groups
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
)

SMALLEST_KERNEL = 3


class ProposalKind(StrEnum):
    """What becomes smaller. The first three are the kinds of ``WidthGroup``, by the same names.

    ``kernel``: the kernel of one block, down to 3×3. ``depth``: a block that adds to its input as
    it is, which is left out. ``squeeze_excite``: the gate of one block.
    """

    EXPANSION = "expansion"
    BOTTLENECK = "bottleneck"
    LAYER = "layer"
    KERNEL = "kernel"
    DEPTH = "depth"
    SQUEEZE_EXCITE = "squeeze_excite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change that may be tried; its blocks are made only then."""

    kind: ProposalKind
    text: str
    edits: Callable[[], Edits]

    def steps_in(self, steps: Sequence[Step]) -> list[tuple[int, Step | None]] | None:
        """The steps that it makes different, as ``edited_steps``; ``None``: it makes no network."""
        try:
            return list(edited_steps(steps, self.edits()))
        except ValueError:
            return None


def places(
    architecture: Architecture, kinds: Sequence[ProposalKind], divisor: int
) -> Iterator[Sequence[Change]]:
    """For each place, its changes from the least to the most: widths first, then block by block."""
    for group in width_groups(architecture):
        kind, first = ProposalKind(group.kind.value), group.slots[0]
        rest = getattr(architecture.blocks[first.block], first.field) - group.width
        if kind in kinds:
            yield [
                Change(
                    kind=kind,
                    text=f"{group}: {rest + group.width} → {rest + width}",
                    edits=partial(group.narrowed, architecture, width),
                )
                for width in group.narrower_widths(divisor)
            ]
    for index, block in enumerate(architecture.blocks):
        for choices in _of_block(block):
            yield [
                Change(
                    kind=kind,
                    text=f"blocks.{index}: {text}",
                    edits=partial(dict[int, Block | None], [(index, smaller)]),
                )
                for kind, text, smaller in choices
                if kind in kinds
            ]


_Choice: TypeAlias = tuple[ProposalKind, str, Block | None]
_LEFT_OUT: _Choice = (ProposalKind.DEPTH, "left out", None)


def _of_block(block: Block) -> Iterator[Iterable[_Choice]]:
    """What a block can become: for each kind, from the least change to the most."""
    match block:
        case ConvNormAct() | DepthwiseSeparable() | InvertedResidual():
            yield _smaller_kernels(block)
            if block.squeeze_excite is not None:
                bare = replace(block, squeeze_excite=None)
                yield [(ProposalKind.SQUEEZE_EXCITE, "without squeeze-and-excite", bare)]
            if block.skip is Skip.IDENTITY:
                yield [_LEFT_OUT]
        case ShuffleV1Unit():
            yield _smaller_kernels(block)
            if block.stride == 1:
                yield [_LEFT_OUT]
        case ShuffleV2Unit():
            # It adds nothing to its input but cuts it in halves: without it, every channel of the
            # stage would meet other layers than those that were trained on it.
            yield _smaller_kernels(block)
        case Pool() | ClassifierHead():
            pass
        case _:
            assert_never(block)


def _smaller_kernels(
    block: ConvNormAct | DepthwiseSeparable | InvertedResidual | ShuffleV1Unit | ShuffleV2Unit,
) -> Iterator[_Choice]:
    for kernel in range(block.kernel - 2, SMALLEST_KERNEL - 1, -2):
        text = f"kernel {block.kernel} → {kernel}"
        yield ProposalKind.KERNEL, text, replace(block, kernel=kernel)
