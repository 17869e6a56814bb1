"""A study's trials as candidates. Everything that a search knows lives in the Optuna storage."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.reward import Reward
from search_spaces.spaces import Choice, SearchSpace

RESULT, OVER_LIMIT = "result", "over_limit"
QUEUED_FOR = "queued_for"
"""What a trial was queued for: the number of a trial that was interrupted, or ``"base"``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One evaluated network of a study.

    Attributes:
        reward: the mean over the targets, where there are several.
        peak_activation_bytes: at batch 1, in float32.
        network: its key.
        of_network: whether the accuracy holds for other choices that stand for the same network.
        standard_error: of the accuracy, by the number of images it was taken on; 0 is unknown.
    """

    number: int
    choices: dict[str, Choice]
    reward: float
    accuracy: float
    latency_ms: float
    madds: int
    params: int
    peak_activation_bytes: int
    network: str
    of_network: bool = True
    standard_error: float = 0.0


def open_study(
    storage: optuna.storages.BaseStorage, name: str, *, pareto: bool = False
) -> optuna.Study:
    """The study of that name, made if it is not there; its sampler is still to be set.

    Args:
        storage: of trials.
        name: of the study in it.
        pareto: whether accuracy and latency are two objectives instead of one reward.

    Raises:
        ValueError: the study is there, with other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    maximize, minimize = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [maximize, minimize] if pareto else [maximize]
    study = optuna.create_study(
        storage=storage, study_name=name, directions=directions, load_if_exists=True
    )
    if study.directions != directions:
        raise ValueError(
            f"the study {name!r} is there, and its sampler was of another kind (one of nsga2 and "
            "the others); give another name=…"
        )
    return study


def is_counted(trial: FrozenTrial) -> bool:
    """Whether a trial is one of those that were asked for: evaluated, or stopped on the way."""
    if trial.state == TrialState.PRUNED:
        return OVER_LIMIT not in trial.user_attrs
    return trial.state == TrialState.COMPLETE


def candidates(study: optuna.Study) -> list[Candidate]:
    """The evaluated networks, in order."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [as_candidate(trial) for trial in finished]


def as_candidate(trial: FrozenTrial) -> Candidate:
    """A complete trial's network."""
    return Candidate(number=trial.number, choices=trial.params, **trial.user_attrs[RESULT])


def ranked(found: Sequence[Candidate], target_ms: float, reward: Reward) -> list[Candidate]:
    """Those that are predicted to meet the target first; within both parts by reward for it."""

    def order(candidate: Candidate) -> tuple[bool, float, int]:
        value = float(reward(candidate.accuracy, candidate.latency_ms, target_ms))
        return candidate.latency_ms > target_ms, -value, candidate.number

    return sorted(found, key=order)


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The choices of a space as Optuna knows them."""
    return {name: CategoricalDistribution(values) for name, values in space.choices.items()}
