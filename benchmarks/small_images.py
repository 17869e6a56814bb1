"""Seed networks for images of some 32 pixels, which published ones shrink to a pixel too soon."""

from dataclasses import replace

from search_spaces.architecture import Architecture
from search_spaces.blocks import Block, ClassifierHead, Pool, ShuffleV1Unit, ShuffleV2Unit, Skip


def for_small_images(architecture: Architecture) -> Architecture:
    """The network with a stem of stride 1 and without the blocks that add to their input.

    So one block of each stage is left, at full width, and the last map of a network that shrinks
    images 32 times has two by two pixels instead of one.

    Raises:
        ValueError: it does not begin with a convolution of stride 2.
    """
    stem, *others = architecture.blocks
    if isinstance(stem, ClassifierHead) or stem.stride != 2:
        raise ValueError(f"{architecture.name} must begin with a layer of stride 2, but does not")
    blocks = (replace(stem, stride=1), *filter(_is_kept, others))
    return replace(architecture, name=f"{architecture.name}_small_images", blocks=blocks)


def _is_kept(block: Block) -> bool:
    match block:
        case ClassifierHead() | Pool() | ShuffleV1Unit() | ShuffleV2Unit():
            return True
        case _:
            return block.skip is not Skip.IDENTITY
