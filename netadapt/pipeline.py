"""A NetAdapt run from end to end: seed, steps, long training, hand-over, report.

Every stage is taken over from the run's folder where it is finished: the seed's weights, each
fine-tuned proposal, each step.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from latency.console import Terminal, Update
from latency.devices.errands import NotMeasuredYet
from latency.side_by_side import SideBySide
from nas.handover import Handover, LastStage
from nas.run_folder import RunFolder
from nas.training.full import FullTraining
from nas.training.weights import load_weights
from netadapt.clock import Clock, target_in_ms
from netadapt.journal import Ended, State, StepFolder, steps_ended
from netadapt.loop import NetAdaptLoop, NothingLeftError
from netadapt.report.summary import summary_lines
from netadapt.report.writing import write_report
from netadapt.setup import NetAdaptRun
from netadapt.start import Start, begin, save_start
from netadapt.step_table import StepTable

MAY_CHANGE_ON_RESUME = frozenset({"executor", "final"})
_MORE_HANDOVERS = 2
"""How often shaving goes on, at most, where the file that is handed over measures too slow."""


def run_netadapt(run: NetAdaptRun, terminal: Terminal) -> dict[str, Any]:
    """Shave the seed until it meets the target, and hand it over; returns the summary.

    Raises:
        any of ``nas.pipeline.FAILURES``: with a message for the person who gave the command.
        KeyboardInterrupt: stopped; the same command goes on.
    """
    for note in run.data.notes:
        terminal.line(f"data: {note}")
    if run.tuning.share is None:
        terminal.line("proposals are compared on the validation images: the weights know the rest")
    folder = RunFolder(run.folder, run.config, MAY_CHANGE_ON_RESUME)
    clock = Clock(device=run.device, settings=run.settings.measure_networks)
    try:
        start = begin(run, folder, clock, terminal)
    except (NotMeasuredYet, KeyboardInterrupt):
        folder.close()
        raise
    except BaseException:
        folder.discard()
        raise
    try:
        summary: dict[str, Any] | None = folder.read_json("summary.json")
        if summary is None or summary.get("final") != run.settings.final.decisive():
            folder.remove("summary.json", "report.html")  # of another training
            summary = _Stages(run, folder, clock, terminal).finish(start)
        terminal.line()
        for line in summary_lines(summary, str(folder.path)):
            terminal.line(line)
        return summary
    finally:
        run.executor.close()
        folder.close()


@dataclass(frozen=True, slots=True)
class _Stages:
    """What comes after the start."""

    run: NetAdaptRun
    folder: RunFolder
    clock: Clock
    terminal: Terminal

    def finish(self, start: Start) -> dict[str, Any]:
        """Shave, train and hand over until the file that is handed over meets the target."""
        self._print_start(start)
        end = self._shave(start)
        handover = self._hand_over(start, end)
        for _ in range(_MORE_HANDOVERS):
            if handover.measured.median_ms <= self._target_ms(handover):
                break
            start = self._take_over(start, end, handover)
            try:
                end = self._shave(start)
            except NothingLeftError as error:
                self.terminal.line(str(error))
                break
            handover = self._hand_over(start, end)
        return self._report(start, end, handover)

    def _print_start(self, start: Start) -> None:
        seed = start.seed
        self.terminal.line(
            f"{seed.architecture.name}: accuracy {seed.accuracy:.1%}, {seed.measured_ms:.2f} ms; "
            f"target {start.target_ms:.2f} ms"
        )

    def _shave(self, start: Start) -> State:
        run, settings = self.run, self.run.settings
        seed, seed_ms = start.seed.architecture, start.seed.measured_ms
        tables = StepTable(
            device=run.device,
            path=settings.table,
            measure=settings.measure,
            proposals=settings.proposals,
            seed=seed,
            seed_ms=seed_ms,
        )
        with self.terminal.progress("shaving") as update:
            loop = NetAdaptLoop(
                folder=self.folder.path,
                tuning=run.tuning,
                proposals=settings.proposals,
                delta_ms=settings.delta * seed_ms,
                decay=settings.decay,
                measure_proposals=partial(tables.of, update=update),
                clock=partial(self.clock.timed, seed, seed_ms),
                executor=run.executor,
                observer=_Progress(self.terminal, update, start.target_ms),
            )
            return loop.run(start.seed, start.target_ms)

    def _hand_over(self, start: Start, end: State) -> Handover:
        run = self.run
        stage = LastStage(
            data=run.data,
            device=run.device,
            training=FullTraining(
                settings=run.settings.final,
                group="final",
                seed=run.settings.random_seed,
                begins_anew=True,
            ),
            measure=run.settings.measure_networks,
        )
        return stage.hand_over(
            end.architecture,
            load_weights(end.weights),
            self.folder,
            self.terminal,
            beside=self.clock.entry(start.seed.architecture),
        )

    def _target_ms(self, handover: Handover) -> float:
        """The target, where the seed takes what it took beside ``best.onnx``."""
        return target_in_ms(self.run.settings.target, _beside(handover).second.median_ms)

    def _take_over(self, start: Start, end: State, handover: Handover) -> Start:
        """Let the loop know what ``best.onnx`` took, so that it goes on; returns where to come to.

        Its figures are of a machine on which the seed takes what it took in the beginning.
        """
        beside, target_ms = _beside(handover), self._target_ms(handover)
        self.terminal.line(
            f"best.onnx takes {beside.first.median_ms:.2f} ms, the target is {target_ms:.2f} ms: "
            "shaving goes on"
        )
        change = start.seed.measured_ms / beside.second.median_ms
        steps = list(steps_ended(self.folder.path))
        measured = replace(
            end, measured_ms=change * beside.first.median_ms, interval=beside.interval
        )
        files = StepFolder(self.folder.path, len(steps))
        files.end(replace(steps[-1], state=measured), proposals=0)
        start = replace(start, target_ms=change * target_ms)
        save_start(self.folder, start)
        return start

    def _report(self, start: Start, end: State, handover: Handover) -> dict[str, Any]:
        with self.terminal.progress("drawing the report"):
            return write_report(
                self.run, self.folder, start.seed, end, handover, self._target_ms(handover)
            )


def _beside(handover: Handover) -> SideBySide:
    assert handover.beside is not None, "it was measured beside the seed"
    return handover.beside


class _Progress:
    """Shows a person how a run goes."""

    def __init__(self, terminal: Terminal, update: Update, target_ms: float) -> None:
        self._terminal, self._update, self._target_ms = terminal, update, target_ms

    def tuning(self, step: int, done: float, proposals: int) -> None:
        self._update.describe(f"step {step}: fine-tuning {proposals} proposals")
        self._update(done, proposals)

    def ended(self, step: int, before: State, ended: Ended) -> None:
        now = ended.state
        drift = now.measured_ms / now.predicted_ms - 1
        self._terminal.line(
            f"step {step}: {ended.change}; accuracy {before.accuracy:.1%} → {now.accuracy:.1%}, "
            f"predicted {now.predicted_ms:.2f} ms, measured {now.measured_ms:.2f} ms "
            f"({drift:+.1%}), target {self._target_ms:.2f} ms"
        )

    def note(self, text: str) -> None:
        self._terminal.line(text)
