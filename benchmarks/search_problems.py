"""Searches with known answers: a space, accuracies of its networks, latencies of its blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hydra.utils import get_object

from benchmarks.prediction import unmeasured_table
from benchmarks.tabular_problems import FOLDER
from benchmarks.tabular_spaces import SPACES
from latency.context import After
from latency.keys import block_key, boundary_key
from latency.reach import reachable_steps
from latency.table import LatencyTable
from nas.evaluators import TableEvaluator
from nas.problem import Problem
from nas.reward import Floats, PowerReward
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.spaces import SearchSpace
from search_spaces.spaces.staged import Indices

QUANTILES = (0.25, 0.5, 0.75)
REWARDS = {
    "soft": PowerReward(alpha=-0.07, beta=-0.07),
    "hard": PowerReward(alpha=0, beta=-1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNetworks:
    """All networks of a space that have a known accuracy.

    Attributes:
        name: of the problem.
        networks: (networks, choices).
        accuracies, latencies_ms: (networks,).
    """

    name: str
    space: SearchSpace
    table: LatencyTable
    networks: Indices
    accuracies: Floats
    latencies_ms: Floats

    def targets_ms(self) -> list[float]:
        """Latencies that a quarter, a half and three quarters of the networks meet."""
        return [float(np.quantile(self.latencies_ms, quantile)) for quantile in QUANTILES]

    def problem(self, reward: str, target_ms: float) -> Problem:
        """The search for the best of them."""
        everything = len(self.networks) == self.space.size
        return Problem.of(
            self.space,
            self.table,
            reward=REWARDS[reward],
            targets_ms=(target_ms,),
            members=None if everything else self.networks,
        )


def own_problem(name: str) -> KnownNetworks:
    """One of the two that the project trained all networks of."""
    return known_networks(
        name,
        SPACES[name](),
        FOLDER / f"{name}.csv",
        LatencyTable.load(FOLDER / f"{name}.jsonl"),
    )


def given_problem(
    space: str, accuracies: Path, table: Path | None, *, column: str, percent: bool
) -> KnownNetworks:
    """A problem from outside.

    Args:
        space: ``module.function`` that makes it.
        accuracies: what ``evaluator=table`` reads.
        table: of latencies; without one, a million MAdds take a millisecond.
        column, percent: as of ``TableEvaluator``.

    Raises:
        ValueError: one of them cannot be read, or they do not fit.
    """
    make: Callable[[], SearchSpace] = get_object(space)
    built = make()
    latencies = madds_table(built) if table is None else LatencyTable.load(table)
    name = built.name
    return known_networks(name, built, accuracies, latencies, column=column, percent=percent)


def known_networks(
    name: str,
    space: SearchSpace,
    accuracies: Path,
    table: LatencyTable,
    *,
    column: str = "accuracy",
    percent: bool = False,
) -> KnownNetworks:
    """Look up what is known of all networks that stand in a file."""
    evaluator = TableEvaluator(space=space, file=str(accuracies), accuracy=column, percent=percent)
    networks = evaluator.members()
    problem = Problem.of(space, table, reward=REWARDS["soft"], targets_ms=(1.0,))
    return KnownNetworks(
        name=name,
        space=space,
        table=table,
        networks=networks,
        accuracies=evaluator.accuracies(),
        latencies_ms=problem.latency_ms(networks),
    )


def madds_table(space: SearchSpace) -> LatencyTable:
    """A table in which a million multiply-adds take a millisecond and boundaries nothing."""
    steps = reachable_steps(space)
    figures = {
        block_key(block, shape, after): count_block_costs(lower_block(block, shape)).madds / 1e6
        for block, shape, after in steps
    }
    figures |= {
        boundary_key(shape, after): 0.0 for _, shape, after in steps if after is not After.IMAGE
    }
    return unmeasured_table(figures, "MAdds")
