"""What is known of every network of a search without training any: all but its accuracy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latency.predictor import SpaceCosts, SpacePredictor
from latency.table import LatencyTable
from nas.limits import LIMITED, Limits
from nas.reward import Floats, Reward
from search_spaces.spaces import Choices, SearchSpace
from search_spaces.spaces.staged import Indices

POOL = 4096
"""Networks that are drawn at once, to find some within the limits."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A search as its samplers see it.

    Attributes:
        space: the networks.
        predictor, costs: their looked-up latencies and counted costs.
        reward: what is maximised, for each of ``targets_ms``.
        limits: what networks may cost at most.
        members: the only networks that can be evaluated, as rows of the space; ``None`` for all.
    """

    space: SearchSpace
    predictor: SpacePredictor
    costs: SpaceCosts
    reward: Reward
    targets_ms: tuple[float, ...]
    limits: Limits = field(default_factory=Limits)
    members: Indices | None = None

    @staticmethod
    def of(space: SearchSpace, table: LatencyTable, **others: Any) -> "Problem":
        """Look up every block of the space; ``others`` are the remaining attributes.

        Raises:
            MissingEntryError: the table lacks a block that some network of the space has.
        """
        predictor = SpacePredictor(space, table)
        costs = SpaceCosts(predictor.listing)
        return Problem(space=space, predictor=predictor, costs=costs, **others)

    def figures(self, indices: Indices) -> dict[str, NDArray[Any]]:
        """Latency (ms), MAdds, parameters and peak activation memory (bytes) of each network."""
        return {
            "latency_ms": self.predictor.predict_ms(indices),
            "madds": self.costs.madds(indices),
            "params": self.costs.params(indices),
            "peak_activation_bytes": self.costs.peak_activation_bytes(indices),
        }

    def identities(self, indices: Indices) -> NDArray[np.int64]:
        """Equal for choices that stand for the same network."""
        return self.costs.identities(indices)

    def sizes(self, indices: Indices) -> Floats:
        """(networks, 4): logarithms of latency, MAdds, parameters and depth in blocks."""
        sizes = (
            self.predictor.predict_ms(indices),
            self.costs.madds(indices),
            self.costs.params(indices),
            self.costs.blocks(indices),
        )
        return np.log(np.stack(sizes, axis=1))

    def latency_ms(self, indices: Indices) -> Floats:
        return self.predictor.predict_ms(indices)

    def allowed(self, indices: Indices) -> NDArray[np.bool_]:
        """Which of the networks are within all limits, and can be evaluated."""
        allowed = np.ones(len(indices), dtype=np.bool_)
        if self.limits.amounts():
            for excess in self.limits.excess(self.figures(indices)).values():
                allowed &= excess <= 0
        if self.members is not None:
            rows = np.ascontiguousarray(indices)
            known = (row.tobytes() in self._known for row in rows)
            allowed &= np.fromiter(known, np.bool_, len(rows))
        return allowed

    @cached_property
    def _known(self) -> frozenset[bytes]:
        """The members, each the bytes of its row."""
        members = () if self.members is None else np.ascontiguousarray(self.members)
        return frozenset(row.tobytes() for row in members)

    def check_limits(self) -> None:
        """Refuse limits that no network keeps.

        Raises:
            ValueError: none was found within them; a single limit that is out of reach is named.
        """
        bounds, amounts = self.costs.bounds, self.limits.amounts()
        lowest = {
            "latency_ms": self.predictor.range_ms[0],
            "madds": bounds.madds[0],
            "params": bounds.params[0],
            "peak_activation_bytes": bounds.peak_activation_bytes[0],
        }
        for limit, name in LIMITED.items():
            if lowest[name] > amounts.get(name, np.inf):
                raise ValueError(
                    f"{limit}={getattr(self.limits, limit)} cannot be kept: {name} of "
                    f"{self.space.name}'s networks are {lowest[name]:g} at least"
                )
        self.draw_allowed(1, np.random.default_rng(0))

    def draw_allowed(self, count: int, rng: np.random.Generator) -> Indices:
        """(count, choices): networks within all limits, drawn evenly where that finds any soon.

        Raises:
            ValueError: no network within the limits was found.
        """
        pool = self.space.sample_indices(POOL, rng) if self.members is None else self.members
        pool = pool[self.allowed(pool)]
        if not len(pool) and self.members is not None:
            raise ValueError(
                "none of the networks that can be evaluated is within the limits "
                f"{self.limits.described()}; raise one of them"
            )
        if not len(pool):
            pool = self._descend(rng)
        return pool[rng.integers(len(pool), size=count)]

    def _descend(self, rng: np.random.Generator) -> Indices:
        """Networks within the limits, looked for by changing choices so that the excess falls."""
        amounts = [len(values) for values in self.space.choices.values()]
        rows = self.space.sample_indices(256, rng)
        for _ in range(8 * len(amounts)):
            excess = self._excess(rows)
            if (excess <= 0).any():
                return rows[excess <= 0]
            column = int(rng.integers(len(amounts)))
            changed = rows.copy(order="F")
            changed[:, column] = rng.integers(amounts[column], size=len(rows), dtype=np.uint8)
            better = self._excess(changed) < excess
            rows[better] = changed[better]
        raise ValueError(
            "no network of the space was found within all of the limits "
            f"{self.limits.described()}; raise one of them"
        )

    def _excess(self, rows: Indices) -> Floats:
        """By how much each network is above the limits, added up."""
        excess = self.limits.excess(self.figures(rows)).values()
        return np.asarray(sum(np.maximum(each, 0) for each in excess), dtype=np.float64)

    def row(self, choices: Choices) -> Indices:
        """A network as an array of one row."""
        return np.array([self.space.choice_indices(choices)], dtype=np.uint8, order="F")

    def rewards(self, accuracy: float | Floats, latency_ms: float | Floats) -> Floats:
        """(targets, networks): the reward of each network for each target."""
        return np.stack(
            [
                np.atleast_1d(self.reward(accuracy, latency_ms, target_ms))
                for target_ms in self.targets_ms
            ]
        )

    def objective(self, accuracy: float | Floats, latency_ms: float | Floats) -> Floats:
        """What a study maximises: the reward; the mean over the targets where there are several."""
        return np.asarray(self.rewards(accuracy, latency_ms).mean(axis=0))


def plain_figures(figures: Mapping[str, NDArray[Any]], row: int = 0) -> dict[str, float | int]:
    """One network's figures as plain numbers, for JSON."""
    return {name: values[row].item() for name, values in figures.items()}
