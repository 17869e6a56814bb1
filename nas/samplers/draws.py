"""Networks that are worth proposing: evaluable, within the limits, and not proposed before."""

from functools import cached_property
from typing import TypeAlias

import numpy as np

from nas.problem import Problem
from nas.samplers.base import History
from search_spaces.spaces.staged import Indices

TRIES = 8
"""Times that networks are drawn, before one is proposed again."""
DRAWN = 256
"""Networks that are drawn at once."""
MUTANTS = 64
"""Networks that are looked through with one choice changed, then with two, and so on."""
FARTHEST = 3
"""Choices that are changed at most, before a network is drawn anew."""

Taken: TypeAlias = set[bytes]
"""The networks that have been proposed, each the bytes of its row."""


def taken_by(history: History) -> Taken:
    """What was proposed before: proposing it again gains nothing."""
    rows = np.concatenate([history.indices, history.others])
    return {row.tobytes() for row in rows}


class Draws:
    """Draws networks of a problem. All are allowed where one allowed was found.

    The number of tries is bounded: where they do not suffice, as in a small space of which
    everything was proposed, a network is proposed a second time.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._amounts = np.array([len(values) for values in problem.space.choices.values()])
        self._changeable = np.flatnonzero(self._amounts > 1)

    @cached_property
    def _members(self) -> Indices | None:
        members = self._problem.members
        return None if members is None else members[self._problem.allowed(members)]

    def fresh(self, taken: Taken, rng: np.random.Generator) -> Indices:
        """A network drawn evenly from all: (choices,).

        Raises:
            ValueError: no network within the limits was found.
        """
        for _ in range(TRIES):
            drawn = self._problem.draw_allowed(DRAWN, rng)
            found = _first_open(drawn, taken)
            if found is not None:
                return found
        return row_of(drawn, 0)

    def near(self, row: Indices, taken: Taken, rng: np.random.Generator) -> Indices:
        """A network that differs from ``row`` in one choice, or in more where those are taken.

        One choice is drawn evenly, and one of its other values. Where only some networks can be
        evaluated, it is one of those with the fewest choices that differ.

        Raises:
            ValueError: no network within the limits was found.
        """
        if self._members is not None:
            found = _nearest(self._members, row, taken, rng)
            return self.fresh(taken, rng) if found is None else found
        for distance in range(1, min(FARTHEST, len(self._changeable)) + 1):
            found = self.first_allowed(self._mutants(row, distance, rng), taken)
            if found is not None:
                return found
        return self.fresh(taken, rng)

    def first_allowed(self, rows: Indices, taken: Taken) -> Indices | None:
        """The first of the networks that is allowed and was not proposed before."""
        return _first_open(rows[self._problem.allowed(rows)], taken)

    def _mutants(self, row: Indices, distance: int, rng: np.random.Generator) -> Indices:
        columns = rng.permuted(np.tile(self._changeable, (MUTANTS, 1)), axis=1)[:, :distance]
        amounts = self._amounts[columns]
        steps = rng.integers(1, amounts)  # not 0: another value
        mutants = np.tile(row, (MUTANTS, 1))
        changed = (np.take(row, columns).astype(np.int64) + steps) % amounts
        np.put_along_axis(mutants, columns, changed.astype(np.uint8), axis=1)
        return mutants


def _first_open(rows: Indices, taken: Taken) -> Indices | None:
    return next((row for row in rows if row.tobytes() not in taken), None)


def _nearest(
    members: Indices, row: Indices, taken: Taken, rng: np.random.Generator
) -> Indices | None:
    distances = (members != row).sum(axis=1)
    order = np.lexsort((rng.random(len(members)), distances))
    return _first_open(members[order], taken)


def row_of(rows: Indices, number: int) -> Indices:
    """One network of many, by itself: (choices,)."""
    row: Indices = rows[number]
    return row
