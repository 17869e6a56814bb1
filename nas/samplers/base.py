"""A sampler that proposes whole networks of a space, from all that was found out about others."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.problem import Problem
from nas.reward import Floats
from search_spaces.spaces.staged import Indices


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a study has found so far.

    Attributes:
        indices: (trials, choices): the finished networks as rows of the space, in order of number.
        rewards, accuracies: (trials,): what they reached.
        numbers: (trials,): of the trials.
        others: (more trials, choices): networks that are running, or were closed without a result:
            proposing them again gains nothing.
        pending: (some trials, choices): those of them that are running. ``None`` for none.
        settled: how many of the finished have only closed trials before them; these will always be
            the first. ``None`` for all.
    """

    indices: Indices
    rewards: Floats
    accuracies: Floats
    numbers: NDArray[np.int64]
    others: Indices
    pending: Indices | None = None
    settled: int | None = None

    def __len__(self) -> int:
        return len(self.indices)


class SpaceSampler(BaseSampler):
    """The base of samplers that know the space. ``propose`` is what they differ in.

    All that a sampler knows follows from the study's trials: a search that is started again, or one
    of several that share a study, goes on as if it had never stopped.
    """

    def __init__(self, *, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.rng = np.random.default_rng(seed)
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in problem.space.choices.items()
        }
        self._rows: dict[int, Indices] = {}
        self._random = RandomSampler(seed=seed)

    @abstractmethod
    def propose(self, history: History) -> Indices:
        """The next network, as a row of the space: (choices,)."""

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002 - the space is known without it
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        return self._distributions

    def sample_relative(
        self,
        study: Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],  # noqa: ARG002 - it is the whole space
    ) -> dict[str, Any]:
        row = self.propose(self._history(study, trial))
        return dict(self.problem.space.choices_at(row))

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self.rng = np.random.default_rng()
        self._random.reseed_rng()

    def _history(self, study: Study, own: FrozenTrial) -> History:
        finished: list[FrozenTrial] = []
        others: list[Indices] = []
        pending: list[Indices] = []
        # With Hyperband a sampler is handed the trials of a bracket alone, in a study of its own.
        trials = getattr(study, "_study", study).get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == TrialState.COMPLETE:
                finished.append(trial)
            elif trial.number != own.number and (row := self._row(trial)) is not None:
                others.append(row)
                if trial.state == TrialState.RUNNING:
                    pending.append(row)
        width = len(self._distributions)
        results = [trial.user_attrs["result"] for trial in finished]
        unfinished = (trial.number for trial in trials if not trial.state.is_finished())
        first_unfinished = min(unfinished, default=own.number)
        return History(
            indices=_stack([self._row(trial) for trial in finished], width),
            rewards=np.array([result["reward"] for result in results], dtype=np.float64),
            accuracies=np.array([result["accuracy"] for result in results], dtype=np.float64),
            numbers=np.array([trial.number for trial in finished], dtype=np.int64),
            others=_stack(others, width),
            pending=_stack(pending, width),
            settled=sum(trial.number < first_unfinished for trial in finished),
        )

    def _row(self, trial: FrozenTrial) -> Indices | None:
        """A trial's network; ``None`` while its choices are not all made."""
        known = self._rows.get(trial.number)
        if known is not None:
            return known
        params = trial.params or trial.system_attrs.get("fixed_params", {})
        if params.keys() != self._distributions.keys():
            return None
        row = np.array(self.problem.space.choice_indices(params), dtype=np.uint8)
        if trial.state.is_finished():
            self._rows[trial.number] = row
        return row


def _stack(rows: list[Any], width: int) -> Indices:
    if not rows:
        return np.empty((0, width), dtype=np.uint8)
    return np.stack(rows)
