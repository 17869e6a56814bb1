"""What the networks of a space are made of, and how fast and how slow they can be.

A stage's layers follow from its own choices and from the map that it reads, of which there are few
(a shape, and what wrote it: an *entrance*). So every stage is listed once for each of its entrances
and combinations of options, and no network is walked. What the blocks of a network cost is put
together to what it costs by a ``Total``.
"""

from collections.abc import Callable, Iterable, Sequence
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

_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How a network's cost follows from those of its blocks: ``SUM`` or ``LARGEST``.

    Attributes:
        add: (some blocks' total, other blocks' total) → that of all. It is the same in any order,
            and where one of both rises, it does not fall: so ``SpaceListing.bounds`` is exact.
        nothing: the total of no block.
    """

    add: np.ufunc
    nothing: int


SUM = Total(add=np.add, nothing=0)
LARGEST = Total(add=np.maximum, nothing=int(_INT64.min))

_Entrance: TypeAlias = tuple[TensorShape, After]
_Layers: TypeAlias = tuple[Block, ...]
_NO_STEP = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The stem, a stage or the head: all that it can be.

    A *variant* is a combination of options as a mixed-radix number, the last option lowest. The
    stem's only option is the image's size, where there are several.

    Attributes:
        radices: how many values each option has; where there are none, there is one variant.
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

    def costs(self, cost: Cost, total: Total = SUM) -> tuple[CostTable, ...]:
        """(entrances, variants) of each section: the total of ``cost`` over the layers.

        ``cost`` is asked once a step; what it raises is passed on.

        Raises:
            ValueError: a network's total might not fit 64 bits.
        """
        values = [cost(*step) for step in self.steps]
        most_layers = sum(section.steps.shape[-1] for section in self.sections)
        largest = max(map(abs, values))
        if largest * most_layers > _INT64.max:
            raise ValueError(
                f"the costs of the blocks of {self.space.name} must add up to less than 2^63 over "
                f"{most_layers} layers, but one of them is {largest}; count them in a larger unit"
            )
        table = np.array([*values, total.nothing], dtype=np.int64)  # _NO_STEP is the last one
        return tuple(
            total.add.reduce(table[section.steps], axis=-1, initial=total.nothing)
            for section in self.sections
        )

    def identities(self) -> tuple[CostTable, ...]:
        """(entrances, variants) of each section: random 64-bit integers, of ``SUM``'s kind.

        Their totals, modulo 2^64, are equal for networks whose stages have the same layers, and for
        others by a chance of 2^-64.
        """
        rng = np.random.default_rng(0)
        tables = []
        for section in self.sections:
            layers = np.arange(section.steps.shape[-1])
            codes = rng.integers(
                _INT64.min, _INT64.max, size=(len(layers), len(self.steps) + 1), endpoint=True
            )
            tables.append(codes[layers, section.steps].sum(axis=-1))
        return tuple(tables)

    def bounds(self, costs: Sequence[CostTable], total: Total = SUM) -> tuple[int, int]:
        """The lowest and the highest total of any network, exact; ``costs`` as from ``costs``.

        Dynamic programming from the head on: of what follows an entrance, only the lowest and the
        highest total are needed.
        """
        low = high = np.full(1, total.nothing, dtype=np.int64)
        for section, table in zip(reversed(self.sections), reversed(costs), strict=True):
            low = total.add(table, low[section.exits]).min(axis=1)
            high = total.add(table, high[section.exits]).max(axis=1)
        return int(low[0]), int(high[0])


def list_space(space: SearchSpace) -> SpaceListing:
    """List a space; about a quarter of a second for ``mobilenet_v3`` at one resolution."""
    lister = _Lister()
    images = [((shape, After.IMAGE), space.stem) for shape in space.input_shapes]
    stem = lister.section((len(images),) if len(images) > 1 else (), images)
    stages = [_list_stage(lister, stage) for stage in space.stages]
    head = lister.section((), [(entrance, space.head) for entrance in lister.entrances])
    return SpaceListing(space=space, steps=tuple(lister.numbers), sections=(stem, *stages, head))


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

    return lister.section(
        tuple(map(len, stage.options.values())),
        (
            (entrance, layers)
            for entrance in lister.entrances
            for layers in variants(entrance[0].channels)
        ),
    )


class _Lister:
    """Lists one section after the other; a step is numbered where it is first met.

    Attributes:
        entrances: of the next section.
    """

    def __init__(self) -> None:
        self.numbers: dict[Step, int] = {}
        self.entrances: list[_Entrance] = []
        self._following: list[_Entrance] = []

    def section(
        self, radices: tuple[int, ...], variants: Iterable[tuple[_Entrance, _Layers]]
    ) -> Section:
        """The next section, of all its variants: those of its first entrance, of the next, …"""
        numbers: list[list[int]] = []
        exits: list[int] = []
        exit_numbers: dict[_Entrance, int] = {}
        for entrance, layers in variants:
            walked, following = self._walk(layers, entrance)
            numbers.append(walked)
            exits.append(exit_numbers.setdefault(following, len(exit_numbers)))
        self.entrances = list(exit_numbers)
        shape = len(exits) // prod(radices), prod(radices)
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
