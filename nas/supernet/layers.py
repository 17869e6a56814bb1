"""Where the layers of a space's networks stand: what shares weights stands in the same place."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.spaces import Choices, SearchSpace, Stage


@dataclass(frozen=True, slots=True)
class Layer:
    """A block of a network; ``place``: stem, head or stage, and its number there, from 0."""

    place: str
    block: Block
    in_channels: int


_Blocks = Sequence[Block]


def layers_of(space: SearchSpace, choices: Choices) -> tuple[Layer, ...]:
    """The layers of the network that ``choices`` stand for, from stem to head."""

    def chosen(stage: Stage, channels: int) -> Iterable[_Blocks]:
        values = {option: choices[f"{stage.name}.{option}"] for option in stage.options}
        return [stage.layers(values, channels)]

    return tuple(_walk(space, chosen))


def reachable_layers(space: SearchSpace) -> Iterator[Layer]:
    """The layers of all networks of a space, some of them more than once."""

    def every(stage: Stage, channels: int) -> Iterable[_Blocks]:
        for values in product(*stage.options.values()):
            yield stage.layers(dict(zip(stage.options, values, strict=True)), channels)

    return _walk(space, every)


def _walk(
    space: SearchSpace, variants: Callable[[Stage, int], Iterable[_Blocks]]
) -> Iterator[Layer]:
    """The layers of stem, stages and head; ``variants`` are a stage's, given its input channels."""
    sections: list[tuple[str, Callable[[int], Iterable[_Blocks]]]] = [
        ("stem", lambda _: [space.stem]),
        *((f"stages.{stage.name}", partial(variants, stage)) for stage in space.stages),
        ("head", lambda _: [space.head]),
    ]
    entrances = {space.image_channels}
    for section, variants_after in sections:
        exits: set[int] = set()
        for channels in sorted(entrances):
            for blocks in variants_after(channels):
                following = channels
                for number, block in enumerate(blocks):
                    yield Layer(f"{section}.{number}", block, following)
                    following = output_shape(block, TensorShape(following, 1, 1)).channels
                exits.add(following)
        entrances = exits
