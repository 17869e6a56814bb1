"""Regularised evolution: the best of a few mutates, and the oldest are forgotten."""

import numpy as np

from nas.checks import check_range
from nas.problem import Problem
from nas.samplers.base import History, SpaceSampler
from nas.samplers.draws import Draws, taken_by
from search_spaces.spaces.staged import Indices


class EvolutionSampler(SpaceSampler):
    """Ageing evolution (Real et al. 2019, Regularized Evolution, algorithm 1).

    The population is the last ``population`` networks that were finished. Of these, ``tournament``
    are drawn with replacement; the best of them, with one choice changed, is proposed.
    """

    def __init__(
        self,
        *,
        problem: Problem,
        seed: int,
        initial: int = 8,
        population: int = 32,
        tournament: int = 32,
    ) -> None:
        """Build the sampler.

        Args:
            problem: the search.
            seed: of what is drawn at random.
            initial: networks that are drawn evenly before the first mutant. Those that still run,
                or were closed without a result, count. The paper waits for a whole population.
            population: the paper's P, after which a network is forgotten, however good.
            tournament: the paper's S.

        Raises:
            ValueError: one of them is out of range.
        """
        super().__init__(problem=problem, seed=seed)
        check_range("sampler.initial", initial, 1, 100_000, whole=True)
        check_range("sampler.population", population, 1, 100_000, whole=True)
        check_range("sampler.tournament", tournament, 1, 100_000, whole=True)
        self._initial = initial
        self._population = population
        self._tournament = tournament
        self._draws = Draws(problem)

    def propose(self, history: History) -> Indices:
        taken = taken_by(history)
        tried = len(history) + len(history.others)
        if tried < self._initial or not len(history):
            return self._draws.fresh(taken, self.rng)
        return self._draws.near(self._parent(history), taken, self.rng)

    def _parent(self, history: History) -> Indices:
        rewards = history.rewards[-self._population :]
        entrants = self.rng.integers(len(rewards), size=self._tournament)
        winner = entrants[np.argmax(rewards[entrants])]
        winning: Indices = history.indices[-self._population :][winner]
        return winning
