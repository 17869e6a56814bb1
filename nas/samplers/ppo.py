"""MnasNet's search: reinforcement learning of a controller by proximal policy optimisation."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nas.checks import check_range
from nas.problem import Problem
from nas.reward import Floats
from nas.samplers.base import History, SpaceSampler
from nas.samplers.controller import Controller
from nas.samplers.draws import Draws, Taken, taken_by
from search_spaces.spaces.staged import Indices

_SAMPLES = 16
"""Networks that are drawn at once: one takes half as long."""
_TRIES = 8
"""Times that they are drawn, until one is allowed and new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PpoSettings:
    """How the controller learns.

    Attributes:
        units: of the LSTM.
        batch: networks an update.
        epochs: steps of Adam an update, each on the whole batch.
        clip: ε, by how much an update may change the probability of a choice.
        entropy: the weight of the entropy in the objective.
        baseline: the weight of the past in the moving average of rewards.
    """

    units: int = 100
    batch: int = 20
    epochs: int = 20
    learning_rate: float = 3.5e-4
    clip: float = 0.2
    entropy: float = 1e-5
    baseline: float = 0.95

    def __post_init__(self) -> None:
        check_range("sampler.settings.units", self.units, 1, 10_000, whole=True)
        check_range("sampler.settings.batch", self.batch, 1, 100_000, whole=True)
        check_range("sampler.settings.epochs", self.epochs, 1, 10_000, whole=True)
        check_range("sampler.settings.learning_rate", self.learning_rate, 1e-12, 1)
        check_range("sampler.settings.clip", self.clip, 1e-6, 1)
        check_range("sampler.settings.entropy", self.entropy, 0, 1e3)
        check_range("sampler.settings.baseline", self.baseline, 0, 1)


def objective(
    logs: Tensor, entropies: Tensor, before: Tensor, advantages: Tensor, settings: PpoSettings
) -> Tensor:
    """What an update increases (Schulman et al. 2017, equations 7 and 9, without a value loss).

    A choice is a time step; all those of a network have its advantage, as the reward comes at the
    end and is not discounted.

    Args:
        logs, entropies, before: (networks, choices): log-probabilities now, entropies now, and
            log-probabilities before the update.
        advantages: (networks,).
    """
    ratios = (logs - before).exp()
    clipped = ratios.clamp(1 - settings.clip, 1 + settings.clip)
    gains = torch.minimum(ratios * advantages[:, None], clipped * advantages[:, None])
    return gains.mean() + settings.entropy * entropies.mean()


class Learner:
    """A controller and what its learning needs to go on."""

    def __init__(self, amounts: Sequence[int], settings: PpoSettings, seed: int) -> None:
        self.controller = Controller(amounts, units=settings.units, seed=seed)
        self._settings = settings
        self._optimiser = torch.optim.Adam(
            self.controller.parameters(), lr=settings.learning_rate, foreach=True
        )
        self._baseline: float | None = None

    def learn(self, networks: Indices, rewards: Floats) -> None:
        """One update from (batch, choices) networks and their (batch,) rewards."""
        advantages = torch.from_numpy(self._advantages(rewards).astype(np.float32))
        rows = torch.from_numpy(networks.astype(np.int64))
        with torch.enable_grad():
            before: Tensor | None = None
            for _ in range(self._settings.epochs):
                logs, entropies = self.controller(rows)
                if before is None:
                    before = logs.detach()
                gain = objective(logs, entropies, before, advantages, self._settings)
                self._optimiser.zero_grad()
                (-gain).backward()  # type: ignore[no-untyped-call]
                self._optimiser.step()

    def _advantages(self, rewards: Floats) -> Floats:
        """Rewards less a moving average of those before; the first batch's mean begins it."""
        baseline = float(rewards.mean()) if self._baseline is None else self._baseline
        advantages = np.empty_like(rewards)
        for i, reward in enumerate(rewards):
            advantages[i] = reward - baseline
            baseline += (1 - self._settings.baseline) * (reward - baseline)
        self._baseline = float(baseline)
        return advantages


class PpoSampler(SpaceSampler):
    """MnasNet's controller (Tan et al. 2019, section 4.2), trained as NASNet's was.

    What it has learned follows from the trials: in order of number, each full batch is an update,
    as soon as no trial before its end still runs. A process goes on from what it has learned; one
    that is started again, or beside another, learns the same. The policy before an update is taken
    for the one that drew the batch.
    """

    def __init__(
        self,
        *,
        problem: Problem,
        seed: int,
        controller_seed: int = 0,
        settings: PpoSettings | None = None,
    ) -> None:
        """Build the sampler.

        Args:
            problem: the search.
            seed: of what is drawn. It may differ after a resume.
            controller_seed: of the controller's first parameters. It must not.
            settings: of the controller and its learning.
        """
        super().__init__(problem=problem, seed=seed)
        self._settings = settings or PpoSettings()
        self._controller_seed = controller_seed
        self._draws = Draws(problem)
        self._begin()

    def propose(self, history: History) -> Indices:
        with _one_thread():
            self._catch_up(history)
            return self._draw(taken_by(history))

    def _draw(self, taken: Taken) -> Indices:
        for _ in range(_TRIES):
            drawn = self._learner.controller.sample(_SAMPLES, self.rng)
            found = self._draws.first_allowed(drawn, taken)
            if found is not None:
                return found
        # The policy is set on what was proposed, or on what is not allowed: go on beside it.
        return self._draws.near(drawn[0], taken, self.rng)

    def _begin(self) -> None:
        amounts = [len(values) for values in self.problem.space.choices.values()]
        self._learner = Learner(amounts, self._settings, self._controller_seed)
        self._learned: list[bytes] = []

    def _catch_up(self, history: History) -> None:
        """Learn from the full batches that were not learned from yet."""
        size = self._settings.batch
        settled = len(history) if history.settled is None else history.settled
        batches = [slice(end - size, end) for end in range(size, settled + 1, size)]
        digests = [_digest(history, batch) for batch in batches]
        if digests[: len(self._learned)] != self._learned:
            self._begin()  # this is another study
        for batch in batches[len(self._learned) :]:
            self._learner.learn(history.indices[batch], history.rewards[batch])
        self._learned = digests


@contextmanager
def _one_thread() -> Iterator[None]:
    """torch on one thread: on cores that train networks, a second one waits more than it helps."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _digest(history: History, batch: slice) -> bytes:
    content = history.indices[batch].tobytes() + history.rewards[batch].tobytes()
    return hashlib.sha256(content).digest()
