"""All that a search's page shows, computed before any of it is drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from latency.table import LatencyTable
from nas.report.drawings import Predicted
from nas.report.front import Front, build_front
from nas.report.history import HistoryPoint, search_history
from nas.report.importance import Importances, choice_importances
from nas.report.network import BlockRow, block_rows
from nas.report.seeds import known_seeds
from nas.setup import Search
from nas.study import Candidate
from nas.units import format_latency
from nas.winner import Finalist
from search_spaces.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetLink:
    """A target of the search.

    Attributes:
        href: where its page is, relative to this one; ``None``: it is this one.
    """

    name: str
    href: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """What a search's page shows.

    Attributes:
        summary: what ``summary.json`` holds.
        network: the winner as YAML text.
        blocks: the winner's.
        networks: what was predicted and measured, end to end.
        targets: of the search, where it had several.
    """

    summary: Mapping[str, Any]
    network: str
    blocks: tuple[BlockRow, ...]
    front: Front
    history: tuple[HistoryPoint, ...]
    importances: Importances
    networks: tuple[Predicted, ...]
    targets: tuple[TargetLink, ...] = ()


def search_report(
    search: Search,
    summary: Mapping[str, Any],
    table: LatencyTable,
    winner: Finalist,
    found: Sequence[Candidate],
    trials: pd.DataFrame,
) -> SearchReport:
    """Compute a search's page for one target.

    Args:
        summary: what ``summary.json`` holds.
        found, trials: the finished trials, in the same order: as candidates, and as
            ``trial_table``'s rows.
    """
    target_ms: float = summary["latency"]["target_ms"]
    rewards = [
        float(search.reward(each.accuracy, each.latency_ms, target_ms)) for each in found
    ]  # fmt: skip
    front = build_front(
        found,
        trials,
        rewards,
        known_seeds(search.space, table),
        winner=winner.candidate.number,
        base=base_trial(search.space, found),
        target_ms=target_ms,
    )
    # What was measured since moves what is usual by some percent; blocks are to add up to what was
    # predicted when the trial was made.
    as_predicted = table.at_speed_of(winner.architecture, winner.candidate.latency_ms)
    return SearchReport(
        summary=summary,
        network=winner.architecture.to_yaml(),
        blocks=tuple(block_rows(winner.architecture, as_predicted)),
        front=front,
        history=tuple(search_history(found, search.reward, target_ms)),
        importances=choice_importances(found, search.space),
        networks=tuple(predicted_networks(table, summary["latency"]["finalists"])),
        targets=target_links(search.settings.targets_ms, target_ms),
    )


def base_trial(space: SearchSpace, found: Sequence[Candidate]) -> int | None:
    """The trial of the network that the space is built around, where it could be trained."""
    base = space.base_choices
    return next((each.number for each in found if each.choices == base), None)


def predicted_networks(
    table: LatencyTable, finalists: Sequence[Mapping[str, Any]]
) -> list[Predicted]:
    """The networks that the table was validated with, and the finalists of the search."""
    known = [
        Predicted(name=f"network {number}", predicted_ms=predicted_ms, measured_ms=measured_ms)
        for number, (predicted_ms, measured_ms) in enumerate(table.validated(), start=1)
    ]
    return known + [
        Predicted(
            name=f"trial {finalist['trial']}",
            predicted_ms=finalist["predicted_ms"],
            measured_ms=finalist["undisturbed_ms"],
            is_finalist=True,
        )
        for finalist in finalists
    ]


def target_links(targets_ms: Sequence[float], this_ms: float) -> tuple[TargetLink, ...]:
    """Where the pages of a search's targets are; one target alone needs no links."""
    if len(targets_ms) == 1:
        return ()
    return tuple(
        TargetLink(
            name=f"{target_ms:g} ms",
            href=None if target_ms == this_ms else f"../{format_latency(target_ms)}/report.html",
        )
        for target_ms in targets_ms
    )
