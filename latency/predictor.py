"""Sums over the blocks of many networks of a space at once: millions of networks a second.

Every stage is a table: (entrance, combination of its options) → what its layers cost, and which
entrance of the next stage follows. A network is a row of small integers, and its sum one look-up a
stage.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from latency.reach import Cost, CostTable, SpaceListing, list_space
from latency.table import PS_PER_MS, LatencyTable
from search_spaces.spaces import SearchSpace
from search_spaces.spaces.staged import Indices

CHUNK = 32768
"""Networks that are summed together: their few arrays stay in the second-level cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _StageTable:
    """A stage's tables, flat: a row is entrance · variants + variant.

    Attributes:
        columns: where the stage's choices stand among all.
        radices: how many values each of them has.
        costs: what a row adds.
        onward: the first row of the entrance of the next stage that follows a row.
    """

    columns: slice
    radices: tuple[int, ...]
    costs: CostTable
    onward: NDArray[np.intp]


class StageTables:
    """A cost that adds up over blocks, in whole units, of any networks of a space."""

    def __init__(self, listing: SpaceListing, cost: Cost) -> None:
        """Ask for the cost of every block that the space can reach.

        Raises:
            ValueError: a network's sum might not fit 64 bits.
        """
        costs = listing.costs(cost)
        self.bounds = listing.bounds(costs)
        """The lowest and the highest sum of any network."""
        self._space = listing.space
        self._stem_cost = int(costs[0][0, 0])
        self._head_costs = costs[-1].ravel()
        self._stages: list[_StageTable] = []
        column = 0
        for position, section in enumerate(listing.sections[1:-1], start=1):
            following = listing.sections[position + 1]
            width = len(section.radices)
            self._stages.append(
                _StageTable(
                    columns=slice(column, column + width),
                    radices=section.radices,
                    costs=costs[position].ravel(),
                    onward=section.exits.ravel() * following.exits.shape[1],
                )
            )
            column += width

    def sums(self, indices: Indices) -> NDArray[np.int64]:
        """The sum of each network.

        Args:
            indices: (networks, choices), as ``SearchSpace.sample_indices`` makes them.

        Raises:
            ValueError: they are no networks of the space.
        """
        self._space.check_indices(indices)
        sums = np.full(len(indices), self._stem_cost, dtype=np.int64)
        for begin in range(0, len(indices), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            self._add(indices[chunk], sums[chunk])
        return sums

    def _add(self, indices: Indices, sums: NDArray[np.int64]) -> None:
        rows = np.zeros(len(sums), dtype=np.intp)
        for stage in self._stages:
            rows += _variants(indices[:, stage.columns], stage.radices)
            sums += stage.costs.take(rows)
            rows = stage.onward.take(rows)
        sums += self._head_costs.take(rows)


class SpacePredictor:
    """Latencies of any networks of a space, equal to ``LatencyTable.network_latency_ms``."""

    def __init__(self, space: SearchSpace, table: LatencyTable) -> None:
        """List the space and look up every block of it.

        Raises:
            MissingEntryError: the table lacks a block that some network of the space has.
            TableError: the table's entries cannot be added up.
        """
        self.listing = list_space(space)
        self._tables = StageTables(self.listing, table.block_cost_ps)

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
        return self._tables.sums(indices) / PS_PER_MS


def _variants(columns: Indices, radices: tuple[int, ...]) -> NDArray[np.unsignedinteger]:
    """Each row as a mixed-radix number, in the narrowest type that holds the largest."""
    numbers = np.zeros(len(columns), dtype=np.min_scalar_type(prod(radices)))
    for column, radix in enumerate(radices):
        numbers *= radix
        numbers += columns[:, column]
    return numbers
