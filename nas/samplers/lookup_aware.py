"""The default sampler: a model of accuracy alone, and the exact latency of thousands of networks.

Other samplers model the reward, and so have to learn again from trainings what a latency table
knows already. Here the reward of an untrained network is uncertain by its accuracy and by nothing
else: its expected improvement on the best so far follows from the model's belief about its accuracy
and from the looked-up latency. Networks that are being trained are taken to be as accurate as is
expected of them, so that workers that ask at the same time get different ones.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from threadpoolctl import ThreadpoolController

from nas.checks import check_range
from nas.problem import Problem
from nas.reward import Floats
from nas.samplers.base import History, SpaceSampler
from nas.samplers.draws import row_of
from nas.samplers.surrogate import AccuracyModel, Networks
from search_spaces.spaces.staged import Indices

_ENUMERATED = 16_384
"""Spaces and tables up to this many networks are listed: sizes are scaled by all of them."""
_LOOKED_AT_WHOLE = 4096
"""Of those listed, up to this many are all candidates of each proposal."""
_SAMPLES_FOR_SCALE = 2048
_USUAL_LOGIT, _NOISE = 1.0, 0.1
"""Of networks that nothing is known of: 73 % right, give or take what size does not explain."""
_DEVIATIONS = norm.ppf((np.arange(16) + 0.5) / 16)
"""Of a normal distribution: equally likely ones."""
_REFITS = 1.1
"""The model's weights are found anew when there are so many times more networks."""


class LookupAwareSampler(SpaceSampler):
    """Proposes the network whose reward is expected to improve most on the best so far."""

    def __init__(
        self,
        *,
        problem: Problem,
        seed: int,
        initial: int = 2,
        fresh: int = 1500,
        parents: int = 10,
        mutants: int = 1500,
        shortlist: int = 1000,
    ) -> None:
        """Build the sampler.

        Args:
            problem: the search.
            seed: of what is drawn at random.
            initial: finished networks, the base network among them, before there is a model of
                accuracy; until then networks are chosen by size and latency.
            fresh: networks drawn at random as candidates.
            parents: the best networks so far, whose mutants are candidates, too.
            mutants: how many; as many again are made of the most promising candidates.
            shortlist: candidates of the highest expected reward, of which the expected improvement
                is computed.

        Raises:
            ValueError: one of them is not as many as above 0.
        """
        super().__init__(problem=problem, seed=seed)
        counts = {
            "initial": initial, "fresh": fresh, "parents": parents,
            "mutants": mutants, "shortlist": shortlist,
        }  # fmt: skip
        for name, count in counts.items():
            check_range(f"sampler.{name}", count, 1, 100_000, whole=True)
        self._initial, self._fresh, self._parents = initial, fresh, parents
        self._mutants, self._shortlist = mutants, shortlist
        self._amounts = [len(values) for values in problem.space.choices.values()]
        self._whole = self._enumerate()
        sample = problem.space.sample_indices(_SAMPLES_FOR_SCALE, np.random.default_rng(0))
        logs = self._log_sizes(sample if self._whole is None else self._whole)
        self._centre, self._spread = logs.mean(axis=0), logs.std(axis=0)
        self._spread[self._spread == 0] = 1.0
        self._weights: Floats | None = None
        self._weights_of = 0
        self._libraries = ThreadpoolController()

    def propose(self, history: History) -> Indices:
        """The most promising network that nobody has proposed yet."""
        # Several threads are slower at matrices this small, and workers train on the other cores.
        with self._libraries.limit(limits=1, user_api="blas"):
            return self._propose(history)

    def _propose(self, history: History) -> Indices:
        seen = np.concatenate([history.indices, history.others])
        target = len(seen) % len(self.problem.targets_ms)
        if len(history) < self._initial:
            return self._guess(seen, target)
        model = self._fit(history)
        candidates, expected = self._candidates(history, model, target, seen)
        if not len(candidates):
            return row_of(self._drawn(), 0)
        latencies_ms = self.problem.latency_ms(candidates)
        candidates = candidates[self._best(expected, latencies_ms, target, self._shortlist)]
        improvement = self._improvement(candidates, history, model, target)
        return row_of(candidates, int(improvement.argmax()))

    def _improvement(
        self, candidates: Indices, history: History, model: AccuracyModel, target: int
    ) -> Floats:
        """How much each is expected to have more reward than the best so far (Jones et al. 1998).

        Averaged over quantiles: rewards need not be linear in accuracy.
        """
        target_ms, reward = self.problem.targets_ms[target], self.problem.reward
        found_ms = self.problem.latency_ms(history.indices)
        best = reward(history.accuracies, found_ms, target_ms).max()
        accuracies = model.quantiles(self._networks(candidates), _DEVIATIONS)
        rewards = reward(accuracies, self.problem.latency_ms(candidates), target_ms)
        # Where none is expected to improve anything, the most promising one decides.
        return np.asarray(np.maximum(rewards - best, 0).mean(axis=0) + 1e-6 * rewards.mean(axis=0))

    def _guess(self, seen: Indices, target: int) -> Indices:
        """The best network by accuracies drawn from what holds of most: larger ones have more."""
        candidates = self._unseen(self._drawn(), seen)
        if not len(candidates):
            return row_of(self._drawn(), 0)
        size = self._networks(candidates).sizes.mean(axis=1)
        slope, noise = abs(self.rng.normal()), self.rng.normal(scale=_NOISE, size=len(candidates))
        accuracies = 1 / (1 + np.exp(-(_USUAL_LOGIT + slope * size + noise)))
        chosen = self._best(accuracies, self.problem.latency_ms(candidates), target, 1)
        return row_of(candidates, int(chosen[0]))

    def _enumerate(self) -> Indices | None:
        """All networks that can be proposed, where they are few."""
        problem = self.problem
        if problem.members is not None and len(problem.members) <= _ENUMERATED:
            networks = problem.members
        elif problem.space.size <= _ENUMERATED:
            grid = np.indices(self._amounts, dtype=np.uint8).reshape(len(self._amounts), -1)
            networks = np.asfortranarray(grid.T)
        else:
            return None
        return networks[problem.allowed(networks)]

    def _drawn(self) -> Indices:
        """Networks within the limits, drawn at random."""
        if self._whole is not None and len(self._whole) <= _LOOKED_AT_WHOLE:
            return self._whole
        return self.problem.draw_allowed(self._fresh, self.rng)

    def _fit(self, history: History) -> AccuracyModel:
        networks = self._networks(history.indices)
        stale = self._weights is None or len(history) >= _REFITS * self._weights_of
        model = AccuracyModel(networks, history.accuracies, self._weights, refit=stale)
        if stale:
            self._weights, self._weights_of = model.log_weights, len(history)
        if history.pending is None or not len(history.pending):
            return model
        pending = self._networks(history.pending)
        accuracies = np.concatenate([history.accuracies, model.expected(pending)])
        everything = self._networks(np.concatenate([history.indices, history.pending]))
        return AccuracyModel(everything, accuracies, model.log_weights, refit=False)

    def _candidates(
        self, history: History, model: AccuracyModel, target: int, seen: Indices
    ) -> tuple[Indices, Floats]:
        """Fresh networks, mutants of the best, and mutants of what looks best among these.

        With the accuracies that are expected of them; without any that was ``seen``.
        """
        drawn = self._drawn()
        if drawn is self._whole:
            pool = self._unseen(drawn, seen)
            return pool, model.expected(self._networks(pool))
        latencies = self.problem.latency_ms(history.indices)
        parents = history.indices[self._best(history.accuracies, latencies, target, self._parents)]
        pool = self._unseen(np.concatenate([drawn, self._mutate(parents)]), seen)
        expected = model.expected(self._networks(pool))
        if len(pool):
            latencies = self.problem.latency_ms(pool)
            best = self._best(expected, latencies, target, 5 * self._parents)
            mutants = self._unseen(self._mutate(pool[best]), np.concatenate([seen, pool]))
            pool = np.concatenate([pool, mutants])
            expected = np.concatenate([expected, model.expected(self._networks(mutants))])
        return pool, expected

    def _mutate(self, parents: Indices) -> Indices:
        """(networks, choices): parents with one to three choices drawn anew, if within limits."""
        rows = parents[self.rng.integers(len(parents), size=self._mutants)].copy()
        everyone = np.arange(len(rows))
        for last in range(3):
            changing = everyone[self.rng.integers(3, size=len(rows)) >= last]
            columns = self.rng.integers(len(self._amounts), size=len(changing))
            highest = np.array(self._amounts)[columns]
            rows[changing, columns] = self.rng.integers(highest).astype(np.uint8)
        return rows[self.problem.allowed(rows)]

    def _best(
        self, accuracies: Floats, latency_ms: Floats, target: int, count: int
    ) -> NDArray[np.intp]:
        """Which networks have the highest reward for a target, the best first."""
        rewards = self.problem.reward(accuracies, latency_ms, self.problem.targets_ms[target])
        return np.argsort(-rewards, kind="stable")[:count]

    def _unseen(self, networks: Indices, seen: Indices) -> Indices:
        """Each network once, unless it is among ``seen``, by whichever choices."""
        identities, first = np.unique(self._identities(networks), return_index=True)
        new = first[~np.isin(identities, self._identities(seen))]
        return networks[np.sort(new)]

    def _identities(self, networks: Indices) -> NDArray[np.int64]:
        return self.problem.identities(np.asfortranarray(networks))

    def _networks(self, indices: Indices) -> Networks:
        sizes = (self._log_sizes(indices) - self._centre) / self._spread
        return Networks.of(indices, self._amounts, sizes)

    def _log_sizes(self, indices: Indices) -> Floats:
        return self.problem.sizes(np.asfortranarray(indices))
