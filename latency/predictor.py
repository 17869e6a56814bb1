"""What many networks of a space cost, at once: millions of networks a second.

Every stage is a table: (entrance, combination of its options) → what its layers cost, and which
entrance of the next stage follows. A network is a row of small integers, and its cost one look-up a
stage.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from latency.reach import LARGEST, SUM, Cost, CostTable, SpaceListing, Total, list_space
from latency.table import PS_PER_MS, LatencyTable
from search_spaces.blocks import Block
from search_spaces.costs import Costs, count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace
from search_spaces.spaces.staged import Indices

CHUNK = 32768
"""Networks that are looked up together: their few arrays stay in the second-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _SectionTable:
    """A section's tables, flat: a row is entrance · variants + variant.

    Attributes:
        columns: where the section's choices stand among all.
        radices: how many values each of them has.
        costs: what a row adds.
        onward: the first row of the entrance of the next section that follows a row.
    """

    columns: slice
    radices: tuple[int, ...]
    costs: CostTable
    onward: NDArray[np.intp]


class StageTables:
    """A cost that follows from those of blocks, in whole units, of any networks of a space."""

    def __init__(
        self, listing: SpaceListing, costs: Sequence[CostTable], total: Total = SUM
    ) -> None:
        """Take ``costs`` as ``listing`` makes them."""
        self._space = listing.space
        self._add = total.add
        # Of what is the same in every network.
        self._common = np.full(1, total.nothing, dtype=np.int64)
        self._tables: list[_SectionTable] = []
        column = 0
        widths = [section.exits.shape[1] for section in listing.sections[1:]]
        for section, added, following in zip(listing.sections, costs, [*widths, 1], strict=True):
            columns = slice(column, column + len(section.radices))
            column = columns.stop
            if added.size == 1:
                self._common = total.add(self._common, added.ravel())
                continue
            self._tables.append(
                _SectionTable(
                    columns=columns,
                    radices=section.radices,
                    costs=added.ravel(),
                    onward=section.exits.ravel() * following,
                )
            )

    def totals(self, indices: Indices) -> NDArray[np.int64]:
        """What each network costs.

        Args:
            indices: (networks, choices), as ``SearchSpace.sample_indices`` makes them.

        Raises:
            ValueError: they are no networks of the space.
        """
        self._space.check_indices(indices)
        totals = np.full(len(indices), self._common, dtype=np.int64)
        for begin in range(0, len(indices), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            self._look_up(indices[chunk], totals[chunk])
        return totals

    def _look_up(self, indices: Indices, totals: NDArray[np.int64]) -> None:
        rows = np.zeros(len(totals), dtype=np.intp)
        for table in self._tables:
            if table.radices:
                rows += _variants(indices[:, table.columns], table.radices)
            self._add(totals, table.costs.take(rows), out=totals)
            rows = table.onward.take(rows)


class CostTables(StageTables):
    """A cost that is asked for block by block.

    Attributes:
        bounds: the lowest and the highest of any network, exact.
    """

    def __init__(self, listing: SpaceListing, cost: Cost, total: Total = SUM) -> None:
        """Ask for the cost of every block that the space can reach.

        Raises:
            ValueError: a network's total might not fit 64 bits.
        """
        costs = listing.costs(cost, total)
        super().__init__(listing, costs, total)
        self.bounds = listing.bounds(costs, total)


class SpacePredictor:
    """Latencies of any networks of a space, equal to ``LatencyTable.network_latency_ms``."""

    def __init__(self, space: SearchSpace, table: LatencyTable) -> None:
        """List the space and look up every block of it.

        Raises:
            MissingEntryError: the table lacks a block that some network of the space has.
            TableError: the table's entries cannot be added up.
        """
        self.listing = list_space(space)
        self._tables = CostTables(self.listing, table.block_cost_ps)

    @property
    def range_ms(self) -> tuple[float, float]:
        """The lowest and the highest latency of any network of the space, exact."""
        low, high = self._tables.bounds
        return low / PS_PER_MS, high / PS_PER_MS

    def predict_ms(self, indices: Indices) -> NDArray[np.float64]:
        """The predicted latency of each network, end to end.

        Args:
            indices: (networks, choices), as ``SearchSpace.sample_indices`` makes them.

        Raises:
            ValueError: they are no networks of the space.
        """
        return self._tables.totals(indices) / PS_PER_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class CostBounds:
    """(lowest, highest) of any network of a space, exact; each by itself."""

    params: tuple[int, int]
    madds: tuple[int, int]
    peak_activation_bytes: tuple[int, int]


class SpaceCosts:
    """Costs of any networks of a space, equal to ``count_costs`` of each.

    ``indices`` are (networks, choices), as ``SearchSpace.sample_indices`` makes them; where they
    are no networks of the space, a ``ValueError`` says so.
    """

    def __init__(self, listing: SpaceListing) -> None:
        """Count the costs of every block that the space can reach."""

        @cache
        def costs(block: Block, shape: TensorShape) -> Costs:
            return count_block_costs(lower_block(block, shape))

        self._identities = StageTables(listing, listing.identities())
        self._blocks = CostTables(listing, lambda *_: 1)
        self._params = CostTables(listing, lambda *step: costs(*step[:2]).params)
        self._madds = CostTables(listing, lambda *step: costs(*step[:2]).madds)
        self._peak = CostTables(
            listing,
            lambda *step: costs(*step[:2]).peak_activation_bytes,
            LARGEST,  # only one tensor crosses from a block to the next: no peak spans two of them
        )

    @property
    def bounds(self) -> CostBounds:
        """What the networks of the space can cost."""
        return CostBounds(
            params=self._params.bounds,
            madds=self._madds.bounds,
            peak_activation_bytes=self._peak.bounds,
        )

    def identities(self, indices: Indices) -> NDArray[np.int64]:
        """Equal for choices that stand for the same stages, such as those of a layer left out.

        Of different networks they are equal by a chance of 2^-64.
        """
        return self._identities.totals(indices)

    def blocks(self, indices: Indices) -> NDArray[np.int64]:
        """How many blocks each network has, stem and head included."""
        return self._blocks.totals(indices)

    def params(self, indices: Indices) -> NDArray[np.int64]:
        """The trained values of each network."""
        return self._params.totals(indices)

    def madds(self, indices: Indices) -> NDArray[np.int64]:
        """The fused multiply-adds of each network, for one image."""
        return self._madds.totals(indices)

    def peak_activation_bytes(self, indices: Indices) -> NDArray[np.int64]:
        """The most that is alive at once in each network, at batch 1, 4 bytes a value."""
        return self._peak.totals(indices)


def _variants(columns: Indices, radices: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Each row as a mixed-radix number, in the narrowest type that holds the largest."""
    numbers = np.zeros(len(columns), dtype=np.min_scalar_type(prod(radices)))
    for column, radix in enumerate(radices):
        numbers *= radix
        numbers += columns[:, column]
    return numbers
