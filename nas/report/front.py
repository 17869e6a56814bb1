"""Accuracy over latency: every network that was found, and the published ones beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from nas.report.seeds import SeedNetwork
from nas.study import Candidate

MOST_POINTS = 4000
"""Of more trials so many are drawn: the page is to stay small enough to be sent to somebody."""


class Role(StrEnum):
    """What a trial is in the figure."""

    TRIAL = "trial"
    FRONT = "on the Pareto front"
    BASE = "base network"
    WINNER = "winner"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """A finished trial.

    Attributes:
        on_front: whether no other is as fast and more accurate, nor as accurate and faster.
        reward: for the target of the page.
    """

    candidate: Candidate
    on_front: bool
    role: Role
    reward: float

    @property
    def label(self) -> str:
        """``trial 7, winner``."""
        name = f"trial {self.candidate.number}"
        return name if self.role is Role.TRIAL else f"{name}, {self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What the figure shows.

    Attributes:
        points: by trial number.
        left_out: how many trials are not drawn; none of them is on the front.
        seeds: published networks that the table can predict, the fastest first.
    """

    points: tuple[FrontPoint, ...]
    left_out: int
    seeds: tuple[SeedNetwork, ...]
    target_ms: float

    @property
    def line(self) -> list[FrontPoint]:
        """The front, from the fastest network on."""
        return sorted(
            (point for point in self.points if point.on_front),
            key=lambda point: (point.candidate.latency_ms, point.candidate.number),
        )

    @property
    def winner(self) -> int:
        """The winner's place among the points."""
        return next(n for n, point in enumerate(self.points) if point.role is Role.WINNER)


def build_front(
    found: Sequence[Candidate],
    trials: pd.DataFrame,
    rewards: Sequence[float],
    seeds: Sequence[SeedNetwork],
    *,
    winner: int,
    base: int | None,
    target_ms: float,
) -> Front:
    """The figure of all trials.

    Args:
        found, trials, rewards: the same trials, in the same order: as candidates, as
            ``trial_table``'s rows, and their rewards for this target.
        winner, base: trial numbers; ``base`` is the search's first network, where it could be
            trained.
    """
    points = [
        FrontPoint(
            candidate=candidate,
            on_front=bool(on_front),
            role=_role(candidate.number, bool(on_front), winner, base),
            reward=reward,
        )
        for candidate, on_front, reward in zip(found, trials["pareto"], rewards, strict=True)
    ]
    points.sort(key=lambda point: point.candidate.number)
    drawn = _thinned(points)
    return Front(
        points=tuple(drawn),
        left_out=len(points) - len(drawn),
        seeds=tuple(seeds),
        target_ms=target_ms,
    )


def _role(number: int, on_front: bool, winner: int, base: int | None) -> Role:
    if number == winner:
        return Role.WINNER
    if number == base:
        return Role.BASE
    return Role.FRONT if on_front else Role.TRIAL


def _thinned(points: list[FrontPoint]) -> list[FrontPoint]:
    """All that have a role, and of the others as many as there is room for, evenly."""
    if len(points) <= MOST_POINTS:
        return points
    others = [number for number, point in enumerate(points) if point.role is Role.TRIAL]
    kept = max(0, MOST_POINTS - (len(points) - len(others)))
    places = np.linspace(0, len(others) - 1, kept).round().astype(int)
    dropped = set(others) - {others[place] for place in places}
    return [point for number, point in enumerate(points) if number not in dropped]
