"""NetAdapt's loop (Yang et al., 2018, algorithm 1): propose, fine-tune, choose, until it is met."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from latency.devices.errands import NotMeasuredYet
from latency.table import LatencyTable
from nas.evaluation import EvaluationError, Steps
from nas.executors import Died, Event, Executor, Failed, Finished, Retried, Told
from nas.training.failures import TrainingError
from nas.training.meter import DivergenceError
from netadapt.choice import Scored, best_proposal
from netadapt.clock import Timed
from netadapt.journal import Ended, State, StepFolder, steps_ended
from netadapt.proposals import Proposal, ProposalSettings, propose
from netadapt.tuning import Task, Tuning, tune
from search_spaces.architecture import Architecture

MeasureProposals = Callable[[Architecture, float], LatencyTable]
"""(network, δ in ms) → a table with every block that its proposals need."""


class Observer(Protocol):
    """Hears how a run goes."""

    def tuning(self, step: int, done: float, proposals: int) -> None:
        """So many of a step's proposals are fine-tuned."""
        ...

    def ended(self, step: int, before: State, ended: Ended) -> None:
        """A step has ended."""
        ...

    def note(self, text: str) -> None:
        """A line for a person."""
        ...


class NothingLeftError(ValueError):
    """No change is left that saves enough, and the target is not met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetAdaptLoop:
    """Makes a network faster, step by step; what ``folder`` holds of an earlier run is taken over.

    Attributes:
        delta_ms: δ of the first step; each later one has ``decay`` times the one before.
        measure_proposals: completes the table before a step.
        clock: a network's latency, measured end to end; it keeps what it measures in the folder.
    """

    folder: Path
    tuning: Tuning
    proposals: ProposalSettings
    delta_ms: float
    decay: float
    measure_proposals: MeasureProposals
    clock: Callable[[Architecture, Path], Timed]
    executor: Executor
    observer: Observer

    def run(self, start: State, target_ms: float) -> State:
        """Go on until a network surely measures within the target; returns it.

        Of steps that have ended the last one counts, whatever the target was then.

        Raises:
            ValueError: no proposal is left, and the target is not met.
        """
        states = [start, *(ended.state for ended in steps_ended(self.folder))]
        while (state := states[-1]).surely_ms > target_ms:
            ended = self._step(StepFolder(self.folder, len(states)), state)
            if ended is None:
                if state.measured_ms <= target_ms:
                    break
                raise NothingLeftError(
                    f"target_latency cannot be reached: after {len(states) - 1} steps the network "
                    f"takes {state.measured_ms:.2f} ms, the target is {target_ms:.2f} ms, and "
                    "nothing is left that saves enough; allow a higher target_latency, a lower "
                    "delta, a smaller divisor, or more kinds"
                )
            states.append(ended.state)
        return state

    def _step(self, files: StepFolder, state: State) -> Ended | None:
        """``None``: nothing can be proposed."""
        proposals = self._propose(files, state)
        if not proposals:
            return None
        self._tune(files, state, proposals)
        scored = [
            Scored(number=number, accuracy=found["accuracy"], saved_ms=proposal.saved_ms)
            for number, proposal in enumerate(proposals)
            if (found := files.result(number)) is not None and "accuracy" in found
        ]
        if not scored:
            raise ValueError(
                f"none of the {len(proposals)} proposals of step {files.number} could be "
                f"fine-tuned; {files.path} says why. Lower tune.learning_rate, or give another "
                "name=…"
            )
        best = best_proposal(scored, state.accuracy)
        proposal = proposals[best.number]
        timed = self._timed(proposal.architecture, files)
        ended = Ended(
            change=proposal.change,
            saved_ms=proposal.saved_ms,
            state=State(
                architecture=proposal.architecture,
                weights=files.answer(best.number).with_suffix(".pt"),
                accuracy=best.accuracy,
                predicted_ms=proposal.latency_ms,
                measured_ms=timed.measured_ms,
                interval=timed.interval,
            ),
        )
        files.end(ended, len(proposals))
        self.observer.ended(files.number, state, ended)
        return ended

    def _timed(self, network: Architecture, files: StepFolder) -> Timed:
        try:
            return self.clock(network, files.path)
        except NotMeasuredYet as waiting:
            # Who has to go to the device brings what the next step needs as well.
            raise waiting.along_with(
                lambda: self.measure_proposals(network, self._delta_ms(files.number + 1))
            ) from None

    def _delta_ms(self, step: int) -> float:
        return self.delta_ms * self.decay ** (step - 1)

    def _propose(self, files: StepFolder, state: State) -> list[Proposal]:
        proposals = files.proposals()
        if proposals is None:
            delta_ms = self._delta_ms(files.number)
            table = self.measure_proposals(state.architecture, delta_ms)
            proposals = list(propose(state.architecture, table, delta_ms, self.proposals))
            files.propose(proposals)
        return proposals

    def _tune(self, files: StepFolder, state: State, proposals: list[Proposal]) -> None:
        """Fine-tune the proposals that have no result yet."""
        todo = [number for number in range(len(proposals)) if files.result(number) is None]
        waiting, running = iter(todo), 0
        shares: dict[str, float] = {}
        done = len(proposals) - len(todo)
        self.observer.tuning(files.number, done, len(proposals))
        while True:
            while running < self.executor.workers and (number := next(waiting, None)) is not None:
                self.executor.submit(
                    str(number), self._call(files, state, proposals[number], number)
                )
                running += 1
            if not running:
                return
            for event in self.executor.wait():
                ended = self._handle(files, event, shares)
                running, done = running - ended, done + ended
                self.observer.tuning(files.number, done + sum(shares.values()), len(proposals))

    def _call(
        self, files: StepFolder, state: State, proposal: Proposal, number: int
    ) -> Callable[..., float]:
        task = Task(
            old=state.architecture,
            weights=state.weights.absolute(),
            new=proposal.architecture,
            sources=proposal.sources,
            order=self.tuning.seed + files.number,
            answer=files.answer(number).absolute(),
        )
        return partial(tune, self.tuning, task)

    def _handle(self, files: StepFolder, event: Event, shares: dict[str, float]) -> bool:
        """Whether the task has ended."""
        match event:
            case Told(message=Steps(done, total)):
                shares[event.key] = done / total
                return False
            case Retried(reason=reason):
                self.observer.note(f"proposal {event.key} is fine-tuned again: {reason}")
                return False
            case Finished():
                pass
            case Died(reason=reason):
                files.set_infeasible(int(event.key), reason)
            case Failed(error=DivergenceError() as error):
                files.set_infeasible(int(event.key), str(error))
            case Failed(error=TrainingError() as error) if self.executor.workers > 1:
                raise TrainingError(f"{error}; or fewer at once: executor.workers=1") from error
            case Failed(error=TrainingError() | ValueError() | OSError() as error):
                raise error
            case Failed(error=error):
                raise EvaluationError.of(
                    f"proposal {event.key} of step {files.number} cannot be fine-tuned", error
                ) from error
            case _:
                raise AssertionError(event)
        shares.pop(event.key, None)
        return True
