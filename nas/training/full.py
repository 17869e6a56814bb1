"""A training that a person waits for: it is shown, logged, kept, and goes on after a kill."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from latency.console import Terminal, Update
from latency.plan import no_progress
from nas.data import Split
from nas.training.checkpoint import Checkpoints, OtherTrainingError
from nas.training.devices import Team, alone
from nas.training.failures import Remedies
from nas.training.logs import CsvLog, Log, TensorBoardLog
from nas.training.loop import evaluate, train
from nas.training.meter import Report
from nas.training.settings import TrainSettings

CHECKPOINT, LOG = "checkpoint.pt", "log.csv"


class Keep(StrEnum):
    """Which epoch's weights are the result."""

    BEST = "best"
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class FullTraining:
    """How a network is trained in full.

    Attributes:
        settings: of the loop.
        group: what a person calls these settings: ``training``, or ``final`` after a search.
        keep: ``BEST``: the network is validated after each epoch, and the epoch with the highest
            accuracy (of several, the first) is the result. ``LAST``: it is validated once, in the
            end, unless ``validates``.
        validates: whether it is validated after each epoch.
        seed: of whatever is random.
        begins_anew: whether a checkpoint of another training is thrown away, or refused.
        checkpoint_s: seconds between two checkpoints.
        tensorboard: whether TensorBoard's log is written too.
        team: the processes that train together; ``None``: this one.
    """

    settings: TrainSettings
    group: str = "training"
    keep: Keep = Keep.LAST
    validates: bool = False
    seed: int
    begins_anew: bool = False
    checkpoint_s: float = 60.0
    tensorboard: bool = False
    team: Team | None = None

    def train(
        self,
        model: nn.Module,
        training: Split,
        validation: Split,
        *,
        resolution: int,
        folder: Path,
        title: str,
        terminal: Terminal,
    ) -> "Trained":
        """Train ``model`` in place, with ``checkpoint.pt`` and ``log.csv`` in the folder.

        Args:
            model: begins with the weights that it has, or where an earlier training stopped.
            training, validation: the images to train on and to validate with.
            resolution: of the images, in pixels.
            folder: of the files.
            title: what a person reads while they wait.
            terminal: where.

        Raises:
            DivergenceError: the loss became infinite or NaN.
            TrainingError: memory does not suffice, or the network cannot be compiled.
            OtherTrainingError: the checkpoint is of another training.
        """
        team = self.team or alone(self.settings)
        course = partial(
            self._train, model, training, validation, resolution, folder, title, terminal, team
        )
        with self._remedies(folder, team).named():
            try:
                return course()
            except OtherTrainingError as error:
                if not self.begins_anew:
                    raise
                terminal.line(f"{title} begins anew: {error}".partition("; ")[0])
            (folder / CHECKPOINT).unlink()
            return course()

    def _remedies(self, folder: Path, team: Team) -> Remedies:
        return Remedies(
            settings=self.settings,
            group=self.group,
            changeable=self.begins_anew,
            checkpoint=folder / CHECKPOINT,
            device=team.device,
        )

    def _train(
        self,
        model: nn.Module,
        training: Split,
        validation: Split,
        resolution: int,
        folder: Path,
        title: str,
        terminal: Terminal,
        team: Team,
    ) -> "Trained":
        logs: list[Log] = []
        if team.rank == 0:
            logs.append(CsvLog(folder / LOG))
            if self.tensorboard:
                logs.append(TensorBoardLog(folder / "tensorboard"))
        with ExitStack() as open_files, terminal.progress(title) as update:
            for log in logs:
                open_files.callback(log.close)
            course = _Course(self, model, validation, resolution, team, logs, update, title)
            course.train(training, folder / CHECKPOINT)
            return course.end()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of a training.

    Attributes:
        accuracy: of the result on the validation part, in 0..1.
        epoch: whose weights the result has.
        accuracies: after each epoch, as far as they were looked at.
    """

    accuracy: float
    epoch: int
    accuracies: Sequence[float]


@dataclass(slots=True)
class _Best:
    """The accuracies after each epoch, and the weights of the best; kept with the training.

    Attributes:
        waiting: a report that is written when the accuracy is known.
    """

    accuracies: list[float] = field(default_factory=list)
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    waiting: Report | None = None

    def state_dict(self) -> dict[str, Any]:
        return {
            "accuracies": self.accuracies,
            "epoch": self.epoch,
            "weights": self.weights,
            "waiting": None if self.waiting is None else asdict(self.waiting),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.accuracies, self.epoch = list(state["accuracies"]), state["epoch"]
        self.weights = dict(state["weights"])
        self.waiting = None if state["waiting"] is None else Report(**state["waiting"])

    def take_in(self, accuracy: float, model: nn.Module, *, keep: bool) -> None:
        if not self.accuracies or accuracy > max(self.accuracies):
            self.epoch = len(self.accuracies) + 1
            if keep:
                self.weights = {name: v.cpu().clone() for name, v in model.state_dict().items()}
        self.accuracies.append(accuracy)


class _Course:
    """One training from where it begins to its end."""

    def __init__(
        self,
        full: FullTraining,
        model: nn.Module,
        validation: Split,
        resolution: int,
        team: Team,
        logs: Sequence[Log],
        update: Update,
        title: str,
    ) -> None:
        self._full, self._model, self._team = full, model, team
        self._validation, self._resolution = validation, resolution
        self._logs, self._update, self._title = logs, update, title
        self._best = _Best()
        self._has_begun = False

    @property
    def _validates(self) -> bool:
        return self._full.validates or self._full.keep is Keep.BEST

    def train(self, training: Split, path: Path) -> None:
        full = self._full
        train(
            self._model,
            training,
            full.settings,
            resolution=self._resolution,
            seed=full.seed,
            on_step=self._on_step,
            on_epoch=self._on_epoch if self._validates else None,
            on_report=self._on_report,
            checkpoints=Checkpoints(path=path, every_s=full.checkpoint_s, beside=self._best),
            team=self._team,
        )

    def end(self) -> Trained:
        """Validate what training left; the model gets the weights that are kept."""
        best, keeps_best = self._best, self._full.keep is Keep.BEST
        accuracy = self._accuracy()
        best.take_in(accuracy, self._model, keep=False)
        self._write_waiting(accuracy)
        epoch = self._full.settings.epochs
        if keeps_best and best.epoch < len(best.accuracies):
            self._model.load_state_dict(best.weights)
            accuracy, epoch = max(best.accuracies), best.epoch
        return Trained(accuracy=accuracy, epoch=epoch, accuracies=tuple(best.accuracies))

    def _on_step(self, done: int, total: int) -> None:
        self._begin_logs(done - 1)
        self._update(done, total)

    def _begin_logs(self, step: int) -> None:
        """Only when a step is done is it known where training began."""
        if not self._has_begun:
            self._has_begun = True
            for log in self._logs:
                log.begin(step)

    def _on_report(self, report: Report) -> None:
        said = [f"epoch {report.epoch}/{self._full.settings.epochs}", f"loss {report.loss:.3g}"]
        if self._best.accuracies:
            said.append(f"accuracy {self._best.accuracies[-1]:.1%}")
        said.append(f"{report.images_per_s:.0f} images/s")
        self._update.describe(f"{self._title}, {', '.join(said)}")
        if report.step == report.total or (report.ends_epoch and self._validates):
            self._best.waiting = report
        else:
            self._write(report, None)

    def _on_epoch(self, epoch: int) -> None:
        del epoch  # there are as many accuracies
        accuracy = self._accuracy()
        self._best.take_in(accuracy, self._model, keep=self._full.keep is Keep.BEST)
        self._write_waiting(accuracy)

    def _write_waiting(self, accuracy: float) -> None:
        if (report := self._best.waiting) is not None:
            self._begin_logs(report.step - 1)
            self._write(report, accuracy)
            self._best.waiting = None

    def _accuracy(self) -> float:
        return evaluate(
            self._model,
            self._validation,
            resolution=self._resolution,
            batch_size=self._full.settings.images_at_once,
            on_step=no_progress,
            team=self._team,
        )

    def _write(self, report: Report, accuracy: float | None) -> None:
        for log in self._logs:
            log.write(report, accuracy)
