"""What the networks of a space are made of, and how fast and how slow they can be.

A stage's layers follow from its own choices and from the map that it reads, of which there are few
(a shape, and what wrote it: an *entrance*). So every stage is listed once for each of its entrances
and combinations of options, and no network is walked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from latency.context import After, context_after
from latency.table import PS_PER_MS, LatencyTable
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.spaces import SearchSpace, Stage

Step: TypeAlias = tuple[Block, TensorShape, After]
Cost: TypeAlias = Callable[[Block, TensorShape, After], int]
"""What a block adds to a network, in whole units: a sum of integers is exact in any order."""

CostTable: TypeAlias = NDArray[np.int64]

_Entrance: TypeAlias = tuple[TensorShape, After]
_Layers: TypeAlias = tuple[Block, ...]
_NO_STEP = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The stem, a stage or the head: all that it can be.

    A *variant* is a combination of options as a mixed-radix number, the last option lowest.

    Attributes:
        radices: how many values each option has; stem and head have no options, and one variant.
        steps: (entrances, variants, layers): indices into ``SpaceListing.steps``, −1 where a
            variant has fewer layers.
        exits: (entrances, variants): the entrance of the next section that follows.
    """

    radices: tuple[int, ...]
    steps: NDArray[np.intp]
    exits: NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceListing:
    """A space with every stage listed.

    Attributes:
        steps: every distinct (block, shape of its input, what wrote that) of some network.
        sections: stem, stages and head.
    """

    space: SearchSpace
    steps: tuple[Step, ...]
    sections: tuple[Section, ...]

    def costs(self, cost: Cost) -> tuple[CostTable, ...]:
        """(entrances, variants) of each section: the sum of ``cost`` over the layers.

        ``cost`` is asked once a step; what it raises is passed on.

        Raises:
            ValueError: a network's sum might not fit 64 bits.
        """
        values = [cost(*step) for step in self.steps]
        most_layers = sum(section.steps.shape[-1] for section in self.sections)
        largest = max(map(abs, values))
        if largest * most_layers > np.iinfo(np.int64).max:
            raise ValueError(
                f"the costs of the blocks of {self.space.name} must add up to less than 2^63 over "
                f"{most_layers} layers, but one of them is {largest}; count them in a larger unit"
            )
        table = np.array([*values, 0], dtype=np.int64)  # _NO_STEP is the last one
        return tuple(table[section.steps].sum(axis=-1) for section in self.sections)

    def bounds(self, costs: Sequence[CostTable]) -> tuple[int, int]:
        """The lowest and the highest sum of any network, exact; ``costs`` are as from ``costs``.

        Dynamic programming from the head on: of what follows an entrance, only the lowest and the
        highest sum are needed.
        """
        low = high = np.zeros(1, dtype=np.int64)
        for section, table in zip(reversed(self.sections), reversed(costs), strict=True):
            low = (table + low[section.exits]).min(axis=1)
            high = (table + high[section.exits]).max(axis=1)
        return int(low[0]), int(high[0])


def list_space(space: SearchSpace) -> SpaceListing:
    """List a space; about a quarter of a second for ``mobilenet_v3``."""
    lister = _Lister(space)
    sections = (
        lister.section((), lambda _: [space.stem]),
        *(_list_stage(lister, stage) for stage in space.stages),
        lister.section((), lambda _: [space.head]),
    )
    return SpaceListing(space=space, steps=tuple(lister.numbers), sections=sections)


def reachable_steps(space: SearchSpace) -> list[Step]:
    """Every distinct (block, shape of its input, what wrote that) of some network of the space."""
    return list(list_space(space).steps)


def reachable_range_ms(space: SearchSpace, table: LatencyTable) -> tuple[float, float]:
    """The lowest and the highest predicted latency of any network of the space, exact.

    Raises:
        MissingEntryError: the table lacks a block that some network of the space has.
        TableError: the table's entries cannot be added up.
    """
    listing = list_space(space)
    low, high = listing.bounds(listing.costs(table.block_cost_ps))
    return low / PS_PER_MS, high / PS_PER_MS


def _list_stage(lister: "_Lister", stage: Stage) -> Section:
    combinations = [
        dict(zip(stage.options, values, strict=True)) for values in product(*stage.options.values())
    ]

    @cache
    def variants(channels: int) -> list[_Layers]:
        return [stage.layers(choices, channels) for choices in combinations]

    return lister.section(tuple(map(len, stage.options.values())), variants)


class _Lister:
    """Lists one section after the other; a step is numbered where it is first met."""

    def __init__(self, space: SearchSpace) -> None:
        self.numbers: dict[Step, int] = {}
        self._following: list[_Entrance] = []
        self._entrances: list[_Entrance] = [(space.input_shape, After.IMAGE)]

    def section(
        self, radices: tuple[int, ...], variants: Callable[[int], Sequence[_Layers]]
    ) -> Section:
        """The next section; ``variants``: input channels → the layers of each variant."""
        numbers: list[list[int]] = []
        exits: list[int] = []
        exit_numbers: dict[_Entrance, int] = {}
        for entrance in self._entrances:
            for layers in variants(entrance[0].channels):
                walked, following = self._walk(layers, entrance)
                numbers.append(walked)
                exits.append(exit_numbers.setdefault(following, len(exit_numbers)))
        shape = len(self._entrances), prod(radices)
        self._entrances = list(exit_numbers)
        most_layers = max(map(len, numbers))
        padded = [walked + [_NO_STEP] * (most_layers - len(walked)) for walked in numbers]
        return Section(
            radices=radices,
            steps=np.array(padded, dtype=np.intp).reshape(*shape, most_layers),
            exits=np.array(exits, dtype=np.intp).reshape(shape),
        )

    def _walk(self, layers: _Layers, entrance: _Entrance) -> tuple[list[int], _Entrance]:
        """The numbers of the layers' steps, and the entrance behind them."""
        walked = []
        for block in layers:
            shape, after = entrance
            number = self.numbers.setdefault((block, shape, after), len(self.numbers))
            if number == len(self._following):
                self._following.append((output_shape(block, shape), context_after(block, shape)))
            walked.append(number)
            entrance = self._following[number]
        return walked, entrance
