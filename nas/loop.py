"""The search loop: ask → check → evaluate → reward → tell, with several networks at a time."""

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from latency.keys import network_key
from nas.asking import ask
from nas.drivers import BEAT_SECONDS, DRIVER, Driver, is_complete, wanted
from nas.evaluation import Accuracy, EvaluationError, MakeEvaluator, Steps, evaluate_network
from nas.evaluators import Evaluation, StoppedEarly
from nas.executors import Asked, Died, Event, Executor, Failed, Finished, Retried, Told
from nas.problem import Problem, plain_figures
from nas.study import OVER_LIMIT, QUEUED_FOR, RESULT, Candidate, as_candidate, distributions
from nas.training.meter import DivergenceError
from search_spaces import Architecture
from search_spaces.spaces import Choice

MAX_FAILURES_IN_A_ROW = 5
MAX_OVER_LIMIT_IN_A_ROW = 10
"""Proposals that break a limit, before a network within them is drawn at random instead."""
_TAKEN_BACK = "another process took this one for dead, and runs its network again"


class SearchObserver(Protocol):
    """Is told what the search does, to show it."""

    def started(self, number: int, latency_ms: float) -> None: ...

    def step(self, number: int, done: int, total: int) -> None: ...

    def finished(self, candidate: Candidate) -> None: ...

    def stopped(self, number: int, epoch: int) -> None:
        """A hopeless network's evaluation was ended after so many epochs."""
        ...

    def retried(self, number: int, reason: str) -> None:
        """A network's evaluation died, and begins again."""
        ...

    def failed(self, number: int, reason: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _Running:
    """A trial whose network is being evaluated."""

    trial: Trial
    choices: dict[str, Choice]
    figures: dict[str, float | int]
    network: str
    epoch: int = 0


@dataclass(slots=True, kw_only=True)
class SearchLoop:
    """Runs trials of a study until enough are finished.

    Attributes:
        pareto: whether accuracy and latency are two objectives instead of one reward.
        prunes: whether the study's pruner may end evaluations early.
    """

    study: optuna.Study
    driver: Driver
    problem: Problem
    make_evaluator: MakeEvaluator
    executor: Executor
    observer: SearchObserver
    seed: int
    pareto: bool = False
    prunes: bool = False
    _running: dict[str, _Running] = field(default_factory=dict)
    _known: list[FrozenTrial] = field(default_factory=list)
    _failures: int = 0

    def run(self, trials: int) -> None:
        """Evaluate networks until ``trials`` are finished. The base network is the first.

        Raises:
            ValueError: one network after the other cannot be evaluated.
        """
        self.driver.beat()
        base = self.problem.space.base_choices
        if not self._look() and self.problem.allowed(self.problem.row(base))[0]:
            # Drivers that start at the same time all queue it; one of them is adopted.
            self.study.enqueue_trial(base, user_attrs={QUEUED_FOR: "base"})
        while not is_complete(self._look(), trials):
            self.driver.beat()
            self._fill(trials)
            if not self._running and wanted(self._known, trials) <= 0:
                self.driver.idle()  # other drivers have the rest
            for event in self.executor.wait(BEAT_SECONDS):
                self._handle(event)

    def _look(self) -> list[FrozenTrial]:
        """Read the study. That is kept, for where there are many trials it is not nothing."""
        self._known = self.study.get_trials(deepcopy=False)
        return self._known

    def _fill(self, trials: int) -> None:
        """Ask for as many trials as there are workers without one."""
        while len(self._running) < self.executor.workers and wanted(self._known, trials) > 0:
            try:
                trial, choices = self._ask_allowed()
            except UpdateFinishedTrialError:
                continue  # another driver has taken it back already
            if not self.driver.adopt(trial, self._look(), trials):
                return
            self._start(trial, choices)

    def _ask_allowed(self) -> tuple[Trial, dict[str, Choice]]:
        """The next network within all limits; the others are closed, and samplers learn of it."""
        refused = 0
        while True:
            trial = ask(self.study, distributions(self.problem.space), {DRIVER: self.driver.name})
            choices: dict[str, Choice] = trial.params
            row = self.problem.row(choices)
            if self.problem.allowed(row)[0]:
                return trial, choices
            for name, excess in self.problem.limits.excess(self.problem.figures(row)).items():
                trial.set_constraint(name, float(excess[0]))
            trial.set_user_attr(OVER_LIMIT, True)
            self.study.tell(trial, state=TrialState.PRUNED)
            refused += 1
            if refused % MAX_OVER_LIMIT_IN_A_ROW == 0:
                rng = np.random.default_rng((self.seed, trial.number))
                drawn = self.problem.draw_allowed(1, rng)[0]
                self.study.enqueue_trial(self.problem.space.choices_at(drawn))

    def _start(self, trial: Trial, choices: dict[str, Choice]) -> None:
        architecture = self.problem.space.build(choices)
        figures = plain_figures(self.problem.figures(self.problem.row(choices)))
        running = _Running(
            trial=trial, choices=choices, figures=figures, network=network_key(architecture)
        )
        if (found := self._found(running.network)) is not None:
            self._tell(running, found)
            return
        self.observer.started(trial.number, float(figures["latency_ms"]))
        key = str(trial.number)
        self._running[key] = running
        self.executor.submit(key, self._call(architecture, choices))

    def _call(self, architecture: Architecture, choices: dict[str, Choice]) -> Any:
        return partial(evaluate_network, self.make_evaluator, architecture, choices, self.prunes)

    def _found(self, network: str) -> Evaluation | None:
        """What an earlier trial found: different choices can stand for one network."""
        for trial in self._known:
            result = trial.user_attrs.get(RESULT)
            if result and result["network"] == network and result["of_network"]:
                return Evaluation(
                    accuracy=result["accuracy"], standard_error=result["standard_error"]
                )
        return None

    def _handle(self, event: Event) -> None:
        running = self._running[event.key]
        number = running.trial.number
        match event:
            case Told(message=Steps(done, total)):
                self.observer.step(number, done, total)
            case Asked(message=Accuracy(epoch, accuracy)):
                self.executor.answer(event.key, not self._is_hopeless(running, epoch, accuracy))
            case Finished(result=evaluation):
                del self._running[event.key]
                self._tell(running, evaluation)
            case Failed(error=StoppedEarly()):
                del self._running[event.key]
                if self.driver.tell(running.trial, state=TrialState.PRUNED) is None:
                    self.observer.failed(number, _TAKEN_BACK)
                else:
                    self.observer.stopped(number, running.epoch)
            case Failed(error=DivergenceError() | MemoryError() as error):
                self._close_failed(event.key, str(error) or type(error).__name__)
            case Failed(error=ValueError() | OSError() as error):
                raise error
            case Failed(error=error):
                raise EvaluationError.of(
                    f"the evaluator failed on trial {number}", error
                ) from error
            case Retried(reason=reason):
                self.observer.retried(number, reason)
            case Died(reason=reason):
                self._close_failed(event.key, reason)
            case _:
                raise AssertionError(event)

    def _is_hopeless(self, running: _Running, epoch: int, accuracy: float) -> bool:
        running.epoch = epoch
        value = self.problem.objective(accuracy, running.figures["latency_ms"])
        try:
            running.trial.report(float(value[0]), epoch)
        except UpdateFinishedTrialError:
            return True  # another driver has taken it back, and its result would be dropped
        return running.trial.should_prune()

    def _close_failed(self, key: str, reason: str) -> None:
        trial = self._running.pop(key).trial
        told = self.driver.tell(trial, state=TrialState.FAIL, attributes={"reason": reason})
        if told is None:
            self.observer.failed(trial.number, _TAKEN_BACK)
            return
        self.observer.failed(trial.number, reason)
        self._failures += 1
        if self._failures == MAX_FAILURES_IN_A_ROW:
            raise ValueError(
                f"{self._failures} networks in a row could not be trained; the last one: {reason}. "
                "Change the evaluator's settings, for example evaluator.settings.learning_rate, "
                "and give the run another name=…"
            )

    def _tell(self, running: _Running, evaluation: Evaluation) -> None:
        self._failures = 0
        latency_ms = running.figures["latency_ms"]
        reward = float(self.problem.objective(evaluation.accuracy, latency_ms)[0])
        result = {
            "reward": reward,
            "network": running.network,
            **asdict(evaluation),
            **running.figures,
        }
        values = [evaluation.accuracy, latency_ms] if self.pareto else [reward]
        told = self.driver.tell(running.trial, values, attributes={RESULT: result})
        if told is None:
            self.observer.failed(running.trial.number, _TAKEN_BACK)
        else:
            self.observer.finished(as_candidate(told))
