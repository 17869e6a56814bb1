"""The latencies that a step is decided on: every block of what is proposed, known well enough."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from latency.console import Update
from latency.context import walk_in_context
from latency.devices import Device
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
        # The seed's are there, unless the file was taken away since: at its speed all is told.
        begun = [*walk_in_context(self.seed), *walk_in_context(network)]
        table = self._ensure(begun, self.measure, update)
        table, sure = self._completed(table, network, delta_ms, update), set[Step]()
        while self.device.is_live:
            decisive = decisive_steps(network, table, delta_ms, self.proposals)
            if sure.issuperset(decisive):
                break
            sure.update(decisive)
            update.describe("measuring what decides again")
            table = self._ensure(decisive, self._surely, update)
            table = self._completed(table, network, delta_ms, update)
        return table

    @property
    def _surely(self) -> MeasureSettings:
        rounds = min(MAX_ROUNDS, _SURE * self.measure.min_rounds)
        return replace(self.measure, min_rounds=rounds, max_rounds=rounds)

    def _completed(
        self, table: LatencyTable, network: Architecture, delta_ms: float, update: Update
    ) -> LatencyTable:
        ahead = _AHEAD if self.device.is_live else MAX_CHANNELS  # all
        while True:
            table = table.at_speed_of(self.seed, self.seed_ms)
            missing = missing_steps(network, table, delta_ms, self.proposals, ahead=ahead)
            if not missing:
                return table
            ahead = min(2 * ahead, MAX_CHANNELS)
            update.describe(f"measuring {len(missing)} blocks")
            steps = [*walk_in_context(network), *missing]
            table = self._ensure(steps, self.measure, update)

    def _ensure(
        self, steps: Iterable[Step], measure: MeasureSettings, update: Update
    ) -> LatencyTable:
        company = _first_steps(self.seed, self.proposals)
        return ensure_table(self.device, self.path, steps, {}, measure, update, company=company)


@cache
def _first_steps(seed: Architecture, proposals: ProposalSettings) -> tuple[Step, ...]:
    """What the first step begins with: blocks of all sizes, as they are in a network."""
    nothing = LatencyTable({}, (), "nothing")
    return tuple(missing_steps(seed, nothing, 1.0, proposals, ahead=_AHEAD))
