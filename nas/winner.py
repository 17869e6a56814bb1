"""Which network wins: the best by reward that *measures* within the target."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latency.devices import Device
from latency.measure import measure_entries
from latency.plan import MeasureSettings, Progress, network_entry, no_progress
from latency.table import Entry
from nas.reward import Reward
from nas.study import Candidate, ranked
from search_spaces import Architecture
from search_spaces.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A candidate and what the clock said of its network, end to end."""

    candidate: Candidate
    architecture: Architecture
    measured: Entry


def choose_winner(
    found: Sequence[Candidate],
    space: SearchSpace,
    target_ms: float,
    reward: Reward,
    most: int,
    measure: "NetworkClock",
    on_progress: Progress,
) -> tuple[Finalist, list[Finalist]]:
    """Measure the best candidates, in order, until one is within the target.

    Candidates that are predicted to meet the target come first, by reward; where none of ``most``
    measures within it, the one nearest to it wins, and the report will say *missed*.

    Returns:
        the winner, and all that were measured.
    """
    first: dict[str, Candidate] = {}
    for candidate in ranked(found, target_ms, reward):
        first.setdefault(candidate.network, candidate)
    candidates = list(first.values())[:most]
    networks = [
        space.build(each.choices, name=f"{space.name}_{each.number}") for each in candidates
    ]
    measure.announce(networks)
    measured: list[Finalist] = []
    for candidate, architecture in zip(candidates, networks, strict=True):
        on_progress(len(measured), most)
        entry = measure(architecture)
        measured.append(Finalist(candidate=candidate, architecture=architecture, measured=entry))
        if entry.median_ms <= target_ms:
            return measured[-1], measured
    return min(measured, key=lambda finalist: finalist.measured.median_ms), measured


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkClock:
    """Measures whole networks on a device, end to end; what it measured stays in the folder."""

    device: Device
    folder: Path
    settings: MeasureSettings

    def __call__(self, architecture: Architecture) -> Entry:
        return self._measure([architecture])[0]

    def announce(self, architectures: Sequence[Architecture]) -> None:
        """Say which networks may be asked for: a device that is not live measures all at once."""
        if not self.device.is_live:
            self._measure(architectures)

    def _measure(self, architectures: Sequence[Architecture]) -> list[Entry]:
        batch, precision = self.settings.batch, self.settings.precision
        # Somebody may carry the file to a device, where those of several runs and targets meet.
        path = self.folder / f"finalists_{self.folder.name}.jsonl"
        entries = [network_entry(each, batch=batch, precision=precision) for each in architectures]
        return measure_entries(self.device, path, entries, self.settings, no_progress)
