"""The latencies that a step is decided on: every block of what is proposed, known well enough."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from latency.console import Update
from latency.context import After, walk_in_context
from latency.devices import Device
from latency.keys import block_key, boundary_key
from latency.measure import ensure_table
from latency.plan import MeasureSettings, steps_of
from latency.profile import MAX_ROUNDS
from latency.reach import Step
from latency.table import LatencyTable
from netadapt.proposals import ProposalSettings, missing_steps, propose
from search_spaces.architecture import Architecture
from search_spaces.blocks import MAX_CHANNELS

_AHEAD = 4
"""Changes of a place that are measured at once, where the table lacks what a step needs."""
_SURE_ROUNDS = 4
"""Visits of what is proposed, over those of any block: of many widths, each known to some percent,
the first that seems to save enough is more often one that seems so by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTable:
    """Completes a table, step by step.

    Attributes:
        path: of the table.
        seed, seed_ms: latencies are of a machine on which the seed takes so long.
    """

    device: Device
    path: Path
    measure: MeasureSettings
    proposals: ProposalSettings
    seed: Architecture
    seed_ms: float

    def of(self, network: Architecture, delta_ms: float, update: Update) -> LatencyTable:
        """A table with what ``propose`` looks at; of what it then finds, more visits.

        The network's own blocks, which every prediction has in it, are measured along.

        Args:
            delta_ms: δ.
            update: told how far it is.
        """
        own = walk_in_context(network)
        table = self._ensure(own, self.measure, update)
        while True:
            table = table.at_speed_of(self.seed, self.seed_ms)
            ahead = _AHEAD if self.device.is_live else MAX_CHANNELS  # all
            measure = self.measure
            steps = missing_steps(network, table, delta_ms, self.proposals, ahead=ahead)
            if not steps and self.device.is_live:
                measure = self._surely
                steps = self._unsure(network, table, delta_ms, measure.min_rounds)
            if not steps:
                return table
            update.describe(f"measuring {len(steps)} blocks")
            table = self._ensure([*own, *steps], measure, update)

    @property
    def _surely(self) -> MeasureSettings:
        rounds = min(MAX_ROUNDS, _SURE_ROUNDS * self.measure.min_rounds)
        return replace(self.measure, min_rounds=rounds, max_rounds=rounds)

    def _unsure(
        self, network: Architecture, table: LatencyTable, delta_ms: float, rounds: int
    ) -> list[Step]:
        """Blocks of the network and of what is proposed that have been measured less often."""
        found = propose(network, table, delta_ms, self.proposals)
        networks = [network, *(proposal.architecture for proposal in found)]
        return [step for step in steps_of(networks) if _rounds(step, table) < rounds]

    def _ensure(
        self, steps: Iterable[Step], measure: MeasureSettings, update: Update
    ) -> LatencyTable:
        return ensure_table(self.device, self.path, steps, {}, measure, update)


def _rounds(step: Step, table: LatencyTable) -> int:
    """How often the block has been measured, or the boundary before it, if less often."""
    block, shape, after = step
    keys = [block_key(block, shape, after)]
    if after is not After.IMAGE:
        keys.append(boundary_key(shape, after))
    return min(table.entry(key).rounds for key in keys)
