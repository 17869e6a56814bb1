"""What is written of a training."""

from pathlib import Path

import pytest

from nas.training.logs import CsvLog, LogRow, TensorBoardLog, read_log
from nas.training.meter import Report


def _report(step: int) -> Report:
    return Report(
        step=step,
        total=9,
        epoch=1,
        ends_epoch=False,
        loss=0.5 / step,
        learning_rate=0.1,
        images_per_s=321.98,
    )


def test_rows_are_there_at_once_and_what_is_done_again_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CsvLog(path)
    log.begin(0)
    log.write(_report(2), None)
    log.write(_report(4), 0.125)
    header = "step,epoch,loss,learning_rate,images_per_s,validation_accuracy\n"
    assert path.read_text() == header + "2,1,0.25,0.1,321.98,\n4,1,0.125,0.1,321.98,0.125\n"
    log.close()

    with path.open("a") as file:
        file.write("6,1,0.0")  # a process was killed while it wrote
    again = CsvLog(path)
    again.begin(3)
    again.write(_report(4), 0.25)
    assert path.read_text() == header + "2,1,0.25,0.1,321.98,\n4,1,0.125,0.1,321.98,0.25\n"


def test_the_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    assert read_log(path) == []
    log = CsvLog(path)
    log.begin(0)
    log.write(_report(2), None)
    log.write(_report(4), 0.125)
    with path.open("a") as file:
        file.write("6,1,0.0")  # a process was killed while it wrote
    rows = read_log(path)
    assert [(row.step, row.loss, row.accuracy) for row in rows] == [
        (2, 0.25, None),
        (4, 0.125, 0.125),
    ]
    assert rows[0] == LogRow(
        step=2, epoch=1, loss=0.25, learning_rate=0.1, images_per_s=321.98, accuracy=None
    )
    path.write_text("a\n2,1,low,0.1,1,\n")
    with pytest.raises(ValueError, match=r"log\.csv is damaged \(.*'low'\); delete it"):
        read_log(path)


def test_another_training_begins_with_an_empty_log(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("something else\n1,2\n")
    CsvLog(path).begin(0)
    assert path.read_text().count("\n") == 1


def test_without_tensorboard_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'chronas\[tensorboard\]'"):
        TensorBoardLog(tmp_path)


def test_tensorboards_files_hold_the_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = TensorBoardLog(tmp_path)
    log.begin(0)
    log.write(_report(2), None)
    log.write(_report(4), 0.75)
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("training/loss")]
    accuracies = [(event.step, event.value) for event in events.Scalars("validation/accuracy")]
    assert losses == [(2, 0.25), (4, 0.125)]
    assert accuracies == [(4, 0.75)]
