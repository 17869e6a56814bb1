"""Proposals against brute force over whole networks."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from latency.context import walk_in_context
from latency.keys import block_key
from latency.reach import Step
from latency.table import LatencyTable, MissingEntryError
from netadapt.edits import narrow
from netadapt.proposals import (
    Proposal,
    ProposalKind,
    ProposalSettings,
    missing_steps,
    propose,
    steps_to_propose,
)
from netadapt.width_groups import width_groups
from search_spaces import Architecture, load_seed, seed_names
from search_spaces.blocks import DepthwiseSeparable, InvertedResidual, Skip

TableOf = Callable[[Iterable[Step]], LatencyTable]
EVERYTHING = ProposalSettings(kinds=tuple(ProposalKind))


def complete(
    architecture: Architecture, table_of: TableOf, settings: ProposalSettings | None = None
) -> tuple[LatencyTable, float]:
    """A table that has all, and the network's latency by it."""
    table = table_of(steps_to_propose(architecture, settings))
    return table, table.network_latency_ms(architecture)


def first_that_saves(
    architecture: Architecture,
    table: LatencyTable,
    delta_ms: float,
    smaller: Iterator[Architecture],
) -> Architecture | None:
    """By predictions of whole networks, one by one."""
    before_ms = table.network_latency_ms(architecture)
    return next((n for n in smaller if before_ms - table.network_latency_ms(n) >= delta_ms), None)


def by_kind(proposals: Iterable[Proposal], *kinds: ProposalKind) -> list[Architecture]:
    return [proposal.architecture for proposal in proposals if proposal.kind in kinds]


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05])
@pytest.mark.parametrize(
    "name", ["mobilenet_v1", "mobilenet_v3_small", "mnasnet_a1", "shufflenet_v2_x0_5"]
)
def test_widths_are_the_largest_that_save_enough(
    name: str, share: float, table_of: TableOf
) -> None:
    seed = load_seed(name)
    table, latency_ms = complete(seed, table_of)
    expected = []
    for group in width_groups(seed):
        widths = [width for width in range(group.width - 1, 0, -1) if width % 8 == 0]
        networks = (narrow(seed, group, width) for width in widths)
        expected.append(first_that_saves(seed, table, share * latency_ms, networks))
    proposals = propose(seed, table, share * latency_ms)
    assert [p.architecture for p in proposals] == [network for network in expected if network]
    assert proposals


def test_latency_that_is_not_monotonic_is_no_trap(table_of: TableOf) -> None:
    """A width just below saves enough, the ones below that do not, and the least does again."""
    seed = load_seed("mobilenet_v3_small")
    group = next(g for g in width_groups(seed) if g.width == 240)
    slot = group.slots[0].block
    steps = {width: walk_in_context(narrow(seed, group, width))[slot] for width in range(8, 240, 8)}
    table, _ = complete(seed, table_of)
    known = {entry.key: entry.latency_ms for entry in table.entries}
    highest = 2 * known[block_key(*walk_in_context(seed)[slot])]
    for width, step in steps.items():
        known[block_key(*step)] = 0.01 if width in (216, 8) else highest
    changed = _replaced(table, known)
    found = by_kind(propose(seed, changed, 0.001), ProposalKind.EXPANSION)
    widths = [network.blocks[slot].expanded_channels for network in found]  # type: ignore[union-attr]
    assert 216 in widths
    assert 8 not in widths


def _replaced(table: LatencyTable, latencies_ms: dict[str, float]) -> LatencyTable:
    entries = [replace(entry, latency_ms=latencies_ms[entry.key]) for entry in table.entries]
    return LatencyTable(table.header, entries, table.source)


@pytest.mark.parametrize("name", seed_names())
class TestEverySeed:
    def test_each_saves_enough_and_no_network_is_proposed_twice(
        self, name: str, table_of: TableOf
    ) -> None:
        seed = load_seed(name)
        table, latency_ms = complete(seed, table_of, EVERYTHING)
        delta_ms = 0.01 * latency_ms
        proposals = propose(seed, table, delta_ms, EVERYTHING)
        assert len({proposal.architecture for proposal in proposals}) == len(proposals) > 10
        for proposal in proposals:
            smaller_ms = table.network_latency_ms(proposal.architecture)
            assert proposal.latency_ms == smaller_ms
            assert latency_ms - smaller_ms >= delta_ms
            assert proposal.saved_ms == pytest.approx(latency_ms - smaller_ms, abs=1e-9)
            kept = [type(seed.blocks[index]) for index in proposal.sources]
            assert kept == [type(block) for block in proposal.architecture.blocks]

    def test_listed_steps_are_those_of_proposals(self, name: str, table_of: TableOf) -> None:
        """Whatever is proposed, of a table that holds no other step, is made of those listed."""
        seed = load_seed(name)
        listed = set(steps_to_propose(seed, EVERYTHING))
        table, latency_ms = complete(seed, table_of, EVERYTHING)
        for share in (0.003, 0.03):
            for proposal in propose(seed, table, share * latency_ms, EVERYTHING):
                assert listed.issuperset(walk_in_context(proposal.architecture))

    def test_missing_steps_end_in_the_same_proposals(self, name: str, table_of: TableOf) -> None:
        seed = load_seed(name)
        table, latency_ms = complete(seed, table_of, EVERYTHING)
        delta_ms = 0.02 * latency_ms
        measured: list[Step] = []
        while missing := missing_steps(seed, table_of(measured), delta_ms, EVERYTHING, ahead=4):
            assert not set(missing).intersection(measured)
            measured += missing
        assert len(measured) < len(steps_to_propose(seed, EVERYTHING))
        found = propose(seed, table_of(measured), delta_ms, EVERYTHING)
        assert found == propose(seed, table, delta_ms, EVERYTHING)


def test_looking_farther_ahead_takes_fewer_rounds(table_of: TableOf) -> None:
    seed = load_seed("mobilenet_v3_small")
    _, latency_ms = complete(seed, table_of)
    rounds, entries = [], []
    for ahead in (1, 4):
        measured: list[Step] = []
        count = 0
        while missing := missing_steps(seed, table_of(measured), 0.01 * latency_ms, ahead=ahead):
            measured += missing
            count += 1
        rounds.append(count)
        entries.append(len(measured))
    assert rounds[1] <= rounds[0] / 2
    assert entries[0] < entries[1] < len(steps_to_propose(seed))


def test_looking_nowhere_is_refused(table_of: TableOf) -> None:
    with pytest.raises(ValueError, match="ahead must be in 1"):
        missing_steps(load_seed("mobilenet_v1"), table_of([]), 1.0, ahead=0)


def test_kinds_of_mobilenet_v3(table_of: TableOf) -> None:
    seed = load_seed("mobilenet_v3_large")
    table, latency_ms = complete(seed, table_of, EVERYTHING)
    proposals = propose(seed, table, 0.001 * latency_ms, EVERYTHING)
    for proposal in proposals:
        pairs = [
            (seed.blocks[i], b)
            for i, b in zip(proposal.sources, proposal.architecture.blocks, strict=True)
        ]
        changed = [(old, new) for old, new in pairs if old != new]
        match proposal.kind:
            case ProposalKind.EXPANSION:
                ((old, new),) = changed
                assert isinstance(old, InvertedResidual)
                assert isinstance(new, InvertedResidual)
                assert new.expanded_channels < old.expanded_channels
            case ProposalKind.BOTTLENECK:
                assert len({new.out_channels for _, new in changed if hasattr(new, "skip")}) == 1
            case ProposalKind.DEPTH:
                assert not changed
                (left_out,) = set(range(18)).difference(proposal.sources)
                block = seed.blocks[left_out]
                assert isinstance(block, DepthwiseSeparable | InvertedResidual)
                assert block.skip is Skip.IDENTITY
            case ProposalKind.KERNEL:
                assert [(old.kernel, new.kernel) for old, new in changed] == [(5, 3)]
            case ProposalKind.SQUEEZE_EXCITE:
                assert [replace(old, squeeze_excite=None) == new for old, new in changed] == [True]
    assert {proposal.kind for proposal in proposals} == set(ProposalKind)


def test_equal_blocks_left_out_are_one_proposal(table_of: TableOf) -> None:
    """Blocks 9 and 10 of MobileNetV3-Large are equal, as are 14 and 15: so are what is left."""
    seed = load_seed("mobilenet_v3_large")
    settings = ProposalSettings(kinds=(ProposalKind.DEPTH,))
    table, _ = complete(seed, table_of, settings)
    proposals = propose(seed, table, 1e-6, settings)
    left_out = [set(range(18)).difference(proposal.sources).pop() for proposal in proposals]
    assert left_out == [1, 3, 5, 8, 9, 12, 14]


def test_default_kinds_are_widths(table_of: TableOf) -> None:
    seed = load_seed("mobilenet_v3_small")
    table, latency_ms = complete(seed, table_of)
    kinds = {proposal.kind.value for proposal in propose(seed, table, 0.001 * latency_ms)}
    assert kinds == {"expansion", "bottleneck", "layer"}


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "shufflenet_v1_g3"])
def test_a_change_is_told_by_the_field_that_it_begins_in(name: str, table_of: TableOf) -> None:
    seed = load_seed(name)
    table, latency_ms = complete(seed, table_of)
    for proposal in propose(seed, table, 0.01 * latency_ms):
        told = re.fullmatch(r"blocks\.(\d+)\.(\w+)( and \d+ more)?: (\d+) → (\d+)", proposal.change)
        assert told is not None
        index, field = int(told[1]), told[2]
        assert getattr(seed.blocks[index], field) == int(told[4])
        assert getattr(proposal.architecture.blocks[index], field) == int(told[5])


def test_nothing_saves_more_than_all(table_of: TableOf) -> None:
    seed = load_seed("mobilenet_v3_small")
    table, latency_ms = complete(seed, table_of)
    assert propose(seed, table, latency_ms) == ()


@pytest.mark.parametrize("lacking", ["own", "narrower", "boundary"])
def test_a_table_that_lacks_something_is_refused(lacking: str, table_of: TableOf) -> None:
    seed = load_seed("mobilenet_v3_small")
    table, latency_ms = complete(seed, table_of)
    own = {block_key(*step) for step in walk_in_context(seed)}
    is_lacking = {
        "own": lambda key: key in own,
        "narrower": lambda key: key not in own and "expanded_channels=232" in key,
        "boundary": lambda key: key.startswith("boundary@"),
    }[lacking]
    kept = [entry for entry in table.entries if not is_lacking(entry.key)]
    assert len(kept) < len(table.entries)
    partial = LatencyTable(table.header, kept, table.source)
    with pytest.raises(MissingEntryError, match="has no entry for"):
        propose(seed, partial, 0.01 * latency_ms)


@pytest.mark.parametrize("delta_ms", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_delta_is_refused(delta_ms: float, table_of: TableOf) -> None:
    with pytest.raises(ValueError, match="delta_ms must be a number of milliseconds above 0"):
        propose(load_seed("mobilenet_v1"), table_of([]), delta_ms)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"divisor": 0}, "divisor must be in"),
        ({"divisor": 2.5}, "divisor must be an integer"),
        ({"kinds": ()}, "kinds must be some of expansion, .* but got none"),
        ({"kinds": ("width",)}, "kinds must be some of expansion, .* but got width"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ProposalSettings(**settings)  # type: ignore[arg-type]
