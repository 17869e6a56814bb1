"""The latencies that a step is decided on: every block of what is proposed, known well enough."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from latency.console import Update
from latency.context import After, walk_in_context
from latency.devices import Device
from latency.keys import block_key, boundary_key
from latency.measure import ensure_table
from latency.plan import MeasureSettings
from latency.profile import MAX_ROUNDS
from latency.reach import Step
from latency.table import LatencyTable
from netadapt.proposals import ProposalSettings, decisive_steps, missing_steps
from search_spaces.architecture import Architecture
from search_spaces.blocks import MAX_CHANNELS

_AHEAD = 4
"""Changes of a place that are measured at once, where the table lacks what a step needs."""
_SURE = 3
"""How often what decides is measured, over how often any block is. Of many widths, each known to
some percent, the first that seems to save enough is more often than not one that seems so by
chance."""


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
        """A table with what ``propose`` looks at; what decides has been measured more often.

        The network's own blocks, which every prediction has in it, are measured along.

        Args:
            delta_ms: δ.
            update: told how far it is.
        """
        table = self._completed(network, delta_ms, update)
        if not self.device.is_live:
            return table
        decisive = decisive_steps(network, table, delta_ms, self.proposals)
        rounds = min(MAX_ROUNDS, _SURE * self.measure.min_rounds)
        unsure = [step for step in decisive if _rounds(step, table) < rounds]
        if not unsure:
            return table
        surely = replace(self.measure, min_rounds=rounds, max_rounds=rounds)
        update.describe(f"measuring {len(unsure)} blocks again")
        self._ensure([*walk_in_context(network), *unsure], surely, update)
        return self._completed(network, delta_ms, update)

    def _completed(self, network: Architecture, delta_ms: float, update: Update) -> LatencyTable:
        own = walk_in_context(network)
        table = self._ensure(own, self.measure, update)
        ahead = _AHEAD if self.device.is_live else MAX_CHANNELS  # all
        while True:
            table = table.at_speed_of(self.seed, self.seed_ms)
            missing = missing_steps(network, table, delta_ms, self.proposals, ahead=ahead)
            if not missing:
                return table
            update.describe(f"measuring {len(missing)} blocks")
            table = self._ensure([*own, *missing], self.measure, update)

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
