"""A training's log: a CSV file with a row a report, and TensorBoard's where that is wanted."""

import csv
import io
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
            with self._path.open(newline="") as file:
                kept = list(csv.reader(file))[1:]
            # A process that was killed may have left the beginning of a row.
            whole = [row for row in kept if len(row) == len(COLUMNS) and row[0].isdecimal()]
            rows += [row for row in whole if int(row[0]) <= step]
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
