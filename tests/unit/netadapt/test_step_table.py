"""What a step is decided on: all that is proposed has been measured often."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency.console import Update
from latency.context import walk_in_context
from latency.keys import block_key
from latency.plan import MeasureSettings, steps_of
from latency.table import LatencyTable
from netadapt.changes import ProposalKind
from netadapt.proposals import ProposalSettings, missing_steps, propose
from netadapt.step_table import StepTable
from search_spaces import load_seed

SEED = load_seed("mobilenet_v3_small", resolution=32)
EXPANSIONS = ProposalSettings(kinds=(ProposalKind.EXPANSION,))


@pytest.fixture
def make_step_table(tmp_path: Path) -> Callable[[Any], StepTable]:
    def make(device: Any) -> StepTable:
        return StepTable(
            device=device,
            path=tmp_path / "table.jsonl",
            measure=MeasureSettings(min_rounds=2, max_rounds=2),
            proposals=EXPANSIONS,
            seed=SEED,
            seed_ms=100.0,
        )

    return make


def _by_size(entry: dict[str, Any]) -> float:
    """A cost that narrower blocks have less of."""
    return 1e-6 * entry["weights_bytes"] + 0.1


def test_what_is_proposed_is_measured_more_often(
    make_device: Callable[..., Any],
    make_step_table: Callable[[Any], StepTable],
    silent: Update,
    tmp_path: Path,
) -> None:
    device = make_device(_by_size)
    table = make_step_table(device).of(SEED, 0.1, silent)
    assert table.network_latency_ms(SEED) == pytest.approx(100.0)
    assert not missing_steps(SEED, table, 0.1, EXPANSIONS)
    proposals = propose(SEED, table, 0.1, EXPANSIONS)
    assert proposals
    networks = [SEED, *(proposal.architecture for proposal in proposals)]
    proposed = {block_key(*step) for step in steps_of(networks)}
    assert {table.entry(key).rounds for key in proposed} == {6}
    held = (tmp_path / "table.jsonl").read_bytes()
    make_step_table(device).of(SEED, 0.1, silent)
    assert (tmp_path / "table.jsonl").read_bytes() == held


def test_a_way_to_the_device_is_not_made_for_that(
    make_device: Callable[..., Any], make_step_table: Callable[[Any], StepTable], silent: Update
) -> None:
    device = make_device(_by_size)
    device.is_live = False
    table = make_step_table(device).of(SEED, 0.1, silent)
    assert isinstance(table, LatencyTable)
    own = {block_key(*step) for step in walk_in_context(SEED)}
    assert {table.entry(key).rounds for key in own} == {2}
    assert len(device.asked) == 2  # the network itself, and all that its proposals could need


def test_the_table_may_be_taken_away_between_steps(
    make_device: Callable[..., Any],
    make_step_table: Callable[[Any], StepTable],
    silent: Update,
) -> None:
    """A run that goes on does not begin with the seed: its blocks are measured anew."""
    narrower = propose(
        SEED, make_step_table(make_device(_by_size)).of(SEED, 0.1, silent), 0.1, EXPANSIONS
    )[0].architecture
    tables = make_step_table(make_device(_by_size))
    tables.path.unlink()
    table = tables.of(narrower, 0.1, silent)
    assert 0 < table.network_latency_ms(narrower) < table.network_latency_ms(SEED)
