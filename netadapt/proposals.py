"""Every way to make a network faster by at least δ milliseconds, on a latency table alone.

NetAdapt (Yang et al., 2018, section 3) shaves a network in steps. In each step a *proposal* is made
per place where the network can become smaller: the least change there that saves δ. MobileNetV3
(section 4.2) has two kinds, a smaller expansion and a smaller bottleneck; here every other width is
a third, for networks that have neither, and kernels, depth and squeeze-and-excite are more, which
have to be asked for.

Latency is not monotonic in width, as a narrower layer may leave a fast path of the runtime. So
widths are tried from the widest down, none is skipped, and the first that saves enough is taken.
What a change saves is the difference of the few blocks that it touches (``edits.py``); as costs
are whole picoseconds, that is exactly what whole-network predictions differ by.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf

from latency.context import walk_in_context
from latency.reach import Cost, Step
from latency.table import PS_PER_MS, LatencyTable, MissingEntryError
from netadapt.changes import Change, ProposalKind, places
from netadapt.edits import with_steps
from search_spaces.architecture import Architecture
from search_spaces.blocks import MAX_CHANNELS, Block, check_integer

WIDTHS = (ProposalKind.EXPANSION, ProposalKind.BOTTLENECK, ProposalKind.LAYER)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalSettings:
    """What is proposed.

    Attributes:
        kinds: the kinds of proposals; by default every kind of width, and nothing else.
        divisor: widths are multiples of it; where the groups or halves of ShuffleNets ask for
            multiples of a number, of the least multiple of that which is no smaller.
    """

    kinds: tuple[ProposalKind, ...] = WIDTHS
    divisor: int = 8

    def __post_init__(self) -> None:
        check_integer("ProposalSettings", "divisor", self.divisor, 1, MAX_CHANNELS)
        if not self.kinds or any(kind not in tuple(ProposalKind) for kind in self.kinds):
            raise ValueError(
                f"ProposalSettings.kinds must be some of {', '.join(ProposalKind)}, but got "
                f"{', '.join(map(str, self.kinds)) or 'none'}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A network that is faster by δ or more than the one it is made of.

    Attributes:
        kind: what is smaller.
        change: the same for people: ``blocks.3.expanded_channels: 72 → 64``.
        architecture: the smaller network, under the old name.
        sources: of each of its blocks, the index in the network before.
        latency_ms: by the table, as ``LatencyTable.network_latency_ms`` has it.
        saved_ms: how much less that is than before.
    """

    kind: ProposalKind
    change: str
    architecture: Architecture
    sources: tuple[int, ...]
    latency_ms: float
    saved_ms: float


def propose(
    architecture: Architecture,
    table: LatencyTable,
    delta_ms: float,
    settings: ProposalSettings | None = None,
) -> tuple[Proposal, ...]:
    """The proposals of one step (NetAdapt, section 3; MobileNetV3, section 4.2).

    For every width group, kernel, removable block and gate of ``settings.kinds``: the least change
    that saves δ. What is no network, or saves too little however large, is left out; so is a
    network that is proposed already.

    Args:
        architecture: the network as it is.
        table: latencies of every block that is looked at; ``steps_to_propose`` lists what may be.
        delta_ms: δ, the least that a proposal saves, in milliseconds. MobileNetV3 has 1 % of the
            seed's latency.
        settings: by default, every kind of width in multiples of 8.

    Raises:
        ValueError: ``delta_ms`` is not a number above 0.
        MissingEntryError: the table lacks a block; ``missing_steps`` lists which to measure.
    """
    settings, scan = settings or ProposalSettings(), _Scan(architecture, table, delta_ms)
    latency_ps = sum(map(scan.cost_ps, scan.steps))
    proposals: dict[tuple[Block, ...], Proposal] = {}
    for changes in places(architecture, settings.kinds, settings.divisor):
        found = scan.least_that_saves(changes)
        if found is None:
            continue
        change, touched, saved_ps = found
        smaller, sources = with_steps(architecture, touched)
        proposal = Proposal(
            kind=change.kind,
            change=change.text,
            architecture=smaller,
            sources=sources,
            latency_ms=(latency_ps - saved_ps) / PS_PER_MS,
            saved_ms=saved_ps / PS_PER_MS,
        )
        proposals.setdefault(smaller.blocks, proposal)
    return tuple(proposals.values())


def steps_to_propose(
    architecture: Architecture, settings: ProposalSettings | None = None
) -> list[Step]:
    """Every block in its place that ``propose`` could look at, whatever δ is, each once.

    For a plan that is measured in advance: ``latency.plan.entry_builders`` takes them.
    """
    settings = settings or ProposalSettings()
    steps = walk_in_context(architecture)
    listed = dict.fromkeys(steps)
    for changes in places(architecture, settings.kinds, settings.divisor):
        for change in changes:
            listed |= dict.fromkeys(_new(change.steps_in(steps) or ()))
    return list(listed)


def missing_steps(
    architecture: Architecture,
    table: LatencyTable,
    delta_ms: float,
    settings: ProposalSettings | None = None,
    *,
    ahead: int = 1,
) -> list[Step]:
    """What to measure before ``propose`` can go on; empty where the table has all that it needs.

    Far fewer than ``steps_to_propose``: for every place, what the first changes lack whose savings
    are not known. Measure them and ask again, as some of these will turn out to save too little.

    Args:
        architecture, table, delta_ms, settings: as ``propose`` has them.
        ahead: so many changes of a place are listed at once. More of them mean fewer rounds of
            measuring, and some entries that nobody needs.

    Raises:
        ValueError: ``delta_ms`` is not a number above 0, or ``ahead`` is below 1.
    """
    check_integer("missing_steps", "ahead", ahead, 1, MAX_CHANNELS)
    settings, scan = settings or ProposalSettings(), _Scan(architecture, table, delta_ms)
    missing = dict.fromkeys(scan.lacking(scan.steps))
    for changes in places(architecture, settings.kinds, settings.divisor):
        unknown = 0
        for change in changes:
            touched = change.steps_in(scan.steps)
            if touched is None:
                continue
            lacking = scan.lacking(_new(touched))
            missing |= dict.fromkeys(lacking)
            if lacking or scan.lacking(scan.old(touched)):
                unknown += 1
                if unknown == ahead:
                    break
            elif scan.is_enough(scan.saved_ps(touched)):
                break
    return list(missing)


def decisive_steps(
    architecture: Architecture,
    table: LatencyTable,
    delta_ms: float,
    settings: ProposalSettings | None = None,
) -> list[Step]:
    """What ``propose`` hangs on: the network's own blocks, and those of the changes that it finds.

    For every place, also those of the next change, which is proposed where the first turns out to
    save too little.

    Raises:
        ValueError, MissingEntryError: as ``propose``.
    """
    settings, scan = settings or ProposalSettings(), _Scan(architecture, table, delta_ms)
    decisive = dict.fromkeys(scan.steps)
    for changes in places(architecture, settings.kinds, settings.divisor):
        left = 2
        for change in changes:
            touched = change.steps_in(scan.steps)
            if touched is None or scan.lacking(_new(touched)):
                continue
            if left < 2 or scan.is_enough(scan.saved_ps(touched)):
                decisive |= dict.fromkeys(_new(touched))
                left -= 1
                if not left:
                    break
    return list(decisive)


_Touched = Sequence[tuple[int, Step | None]]


def _new(touched: _Touched) -> list[Step]:
    return [step for _, step in touched if step is not None]


class _Scan:
    """One network and what its blocks, as they are and changed, cost; each is looked up once."""

    def __init__(self, architecture: Architecture, table: LatencyTable, delta_ms: float) -> None:
        if not 0 < delta_ms < inf:
            raise ValueError(
                f"delta_ms must be a number of milliseconds above 0, but got {delta_ms}"
            )
        self.steps = walk_in_context(architecture)
        look_up: Cost = table.block_cost_ps
        self._cost_ps = cache(look_up)
        self._delta_ps = delta_ms * PS_PER_MS

    def cost_ps(self, step: Step) -> int:
        return self._cost_ps(*step)

    def old(self, touched: _Touched) -> list[Step]:
        return [self.steps[index] for index, _ in touched]

    def saved_ps(self, touched: _Touched) -> int:
        """What a change saves; below 0 where it costs something."""
        return sum(map(self.cost_ps, self.old(touched))) - sum(map(self.cost_ps, _new(touched)))

    def is_enough(self, saved_ps: int) -> bool:
        return saved_ps >= self._delta_ps

    def least_that_saves(self, changes: Iterable[Change]) -> tuple[Change, _Touched, int] | None:
        """The first change that saves δ, what it touches, and what it saves."""
        for change in changes:
            touched = change.steps_in(self.steps)
            if touched is not None and self.is_enough(saved_ps := self.saved_ps(touched)):
                return change, touched, saved_ps
        return None

    def lacking(self, steps: Iterable[Step]) -> list[Step]:
        """Those that the table does not hold, with the boundary before them."""
        return [step for step in steps if not self._holds(step)]

    def _holds(self, step: Step) -> bool:
        try:
            self.cost_ps(step)
        except MissingEntryError:
            return False
        return True
