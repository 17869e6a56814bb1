"""The search loop: ask → evaluate → reward → tell. Its state lives in the Optuna storage."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from latency.keys import network_key
from latency.table import LatencyTable
from nas.evaluators import Evaluator
from nas.reward import Reward
from nas.training.loop import DivergenceError, StepCallback
from search_spaces import count_costs
from search_spaces.spaces import Choice, SearchSpace

MAX_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One evaluated network of a study; ``network`` is its key."""

    number: int
    choices: dict[str, Choice]
    reward: float
    accuracy: float
    latency_ms: float
    madds: int
    params: int
    network: str


class SearchObserver(Protocol):
    """Is told what the search does, to show it."""

    def training(self, number: int, latency_ms: float) -> AbstractContextManager[StepCallback]:
        """A trial's network is being evaluated while the context is open."""
        ...

    def finished(self, candidate: Candidate, best: Candidate) -> None: ...

    def failed(self, number: int, reason: str) -> None: ...


def open_study(
    path: Path, name: str, sampler_for: Callable[[int], optuna.samplers.BaseSampler]
) -> optuna.Study:
    """The study in the SQLite file at ``path``, made if it is not there.

    Trials that were running when the last process died are closed and queued again, so that none
    is lost. ``sampler_for`` is given the number of trials so far: a sampler seeded alike after a
    resume would propose the same networks again.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=f"sqlite:///{quote(str(path))}",
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    trials = study.get_trials(deepcopy=False)
    study.sampler = sampler_for(len(trials))
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            queued = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
            # First queued, then closed: a process that dies in between loses nothing.
            study.enqueue_trial(queued, user_attrs={"retry_of": trial.number})
            study.tell(trial.number, state=TrialState.FAIL)
    return study


def candidates(study: optuna.Study) -> list[Candidate]:
    """The finished trials, in order."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [_candidate(trial) for trial in finished]


def ranked(found: Sequence[Candidate], target_ms: float) -> list[Candidate]:
    """Those that are predicted to meet the target first; within both parts by reward."""
    return sorted(found, key=lambda c: (c.latency_ms > target_ms, -c.reward))


def _candidate(trial: FrozenTrial) -> Candidate:
    assert trial.value is not None
    return Candidate(
        number=trial.number, choices=trial.params, reward=trial.value, **trial.user_attrs["result"]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLoop:
    """Runs trials of a study until enough have finished."""

    study: optuna.Study
    space: SearchSpace
    table: LatencyTable
    evaluator: Evaluator
    reward: Reward
    target_ms: float
    observer: SearchObserver

    def run(self, trials: int) -> None:
        """Evaluate networks until ``trials`` have finished. The base network is the first.

        Raises:
            ValueError: one network after the other cannot be trained.
        """
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self.space.base_choices)
        failures = 0
        while len(candidates(self.study)) < trials:
            failures = 0 if self._run_trial() else failures + 1
            if failures == MAX_FAILURES_IN_A_ROW:
                raise ValueError(
                    f"{failures} networks in a row could not be trained; change the evaluator's "
                    "settings, for example evaluator.settings.learning_rate, and give the run "
                    "another name=…"
                )

    def _run_trial(self) -> bool:
        trial = self.study.ask()
        architecture = self.space.build(suggest(trial, self.space))
        latency_ms = self.table.network_latency_ms(architecture)
        network = network_key(architecture)
        # Different choices can stand for one network, which need not be trained twice.
        accuracy = next(
            (known.accuracy for known in candidates(self.study) if known.network == network), None
        )
        if accuracy is None:
            try:
                with self.observer.training(trial.number, latency_ms) as on_step:
                    accuracy = self.evaluator.evaluate(architecture, on_step).accuracy
            except DivergenceError as error:
                self.study.tell(trial, state=TrialState.FAIL)
                self.observer.failed(trial.number, str(error))
                return False
        costs = count_costs(architecture)
        result = {
            "accuracy": accuracy,
            "latency_ms": latency_ms,
            "madds": costs.madds,
            "params": costs.params,
            "network": network,
        }
        trial.set_user_attr("result", result)
        told = self.study.tell(trial, self.reward(accuracy, latency_ms, self.target_ms))
        self.observer.finished(_candidate(told), ranked(candidates(self.study), self.target_ms)[0])
        return True


def suggest(trial: Trial, space: SearchSpace) -> dict[str, Choice]:
    """Let the trial's sampler choose a value for every choice of the space."""
    chosen: dict[str, Choice] = {}
    for name, values in space.choices.items():
        chosen[name] = trial.suggest_categorical(name, values)  # type: ignore[assignment]
    return chosen
