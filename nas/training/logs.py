"""A training's log: a CSV file with a row a report, and TensorBoard's where that is wanted."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from latency.files import write_whole
from nas.training.meter import Report

COLUMNS = ("step", "epoch", "loss", "learning_rate", "images_per_s", "validation_accuracy")


class Log(Protocol):
    """What reports are written to."""

    def begin(self, step: int) -> None:
        """Forget what was written after ``step``: it is done again."""
        ...

    def write(self, report: Report, accuracy: float | None) -> None:
        """Write a report, and the accuracy on the validation part in 0..1 where that is known."""
        ...

    def close(self) -> None: ...


class CsvLog:
    """``log.csv``: rows are written when they are known; a training that goes on adds to them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, step: int) -> None:
        rows = [list(COLUMNS)]
        if self._path.exists():
            rows += [row for row in _whole_rows(self._path) if int(row[0]) <= step]
        write_whole(self._path, _as_csv(rows).encode())

    def write(self, report: Report, accuracy: float | None) -> None:
        row = [
            str(report.step),
            str(report.epoch),
            f"{report.loss:.6g}",
            f"{report.learning_rate:.6g}",
            f"{report.images_per_s:.5g}",
            "" if accuracy is None else f"{accuracy:.6g}",
        ]
        with self._path.open("a", newline="") as file:
            file.write(_as_csv([row]))

    def close(self) -> None:
        """Nothing is open between two rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """A row of ``log.csv``.

    Attributes:
        loss: the mean since the row before.
        accuracy: on the validation part in 0..1, where it was looked at.
    """

    step: int
    epoch: int
    loss: float
    learning_rate: float
    images_per_s: float
    accuracy: float | None


def read_log(path: Path) -> list[LogRow]:
    """The rows of a ``log.csv``; none where there is no such file.

    Raises:
        ValueError: it is damaged.
    """
    try:
        return [_log_row(row) for row in _whole_rows(path)] if path.exists() else []
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}); delete it, and all but its curves is drawn"
        ) from None


def _log_row(row: list[str]) -> LogRow:
    step, epoch, loss, learning_rate, images_per_s, accuracy = row
    return LogRow(
        step=int(step),
        epoch=int(epoch),
        loss=float(loss),
        learning_rate=float(learning_rate),
        images_per_s=float(images_per_s),
        accuracy=float(accuracy) if accuracy else None,
    )


def _whole_rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        kept = list(csv.reader(file))[1:]
    # A process that was killed may have left the beginning of a row.
    return [row for row in kept if len(row) == len(COLUMNS) and row[0].isdecimal()]


def _as_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class TensorBoardLog:
    """The same numbers for TensorBoard.

    Raises:
        ValueError: its package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ValueError(
                "tensorboard=true needs the package tensorboard: pip install 'chronas[tensorboard]'"
            ) from None
        self._make = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def begin(self, step: int) -> None:
        # TensorBoard leaves out what an earlier process wrote from this step on.
        self._writer = self._make(str(self._folder), purge_step=step + 1)

    def write(self, report: Report, accuracy: float | None) -> None:
        assert self._writer is not None, "it has begun"
        numbers = {
            "training/loss": report.loss,
            "training/learning_rate": report.learning_rate,
            "training/images_per_s": report.images_per_s,
            "training/epoch": float(report.epoch),
        }
        if accuracy is not None:
            numbers["validation/accuracy"] = accuracy
        for name, number in numbers.items():
            self._writer.add_scalar(name, number, report.step)
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
