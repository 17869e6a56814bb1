"""A training in full: which epoch's weights are the result, its log, and going on."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from latency.console import Terminal
from nas.data import MemorySplit
from nas.training import TrainSettings, full
from nas.training.checkpoint import OtherTrainingError
from nas.training.full import FullTraining, Keep, Trained

DATA = MemorySplit(
    images=torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(7)),
    labels=torch.arange(24) % 3,
)


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


def _train(
    folder: Path, model: nn.Module, settings: TrainSettings | None = None, **changed: Any
) -> Trained:
    settings = settings or TrainSettings(epochs=4, batch_size=8)
    training = FullTraining(settings=settings, seed=1, **changed)
    return training.train(
        model, DATA, DATA, resolution=8, folder=folder, title="training", terminal=Terminal()
    )


@pytest.fixture
def accuracies(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The second epoch is the best, as is said; the weights that were evaluated."""
    seen: list[dict[str, torch.Tensor]] = []

    def evaluate(model: nn.Module, *_: Any, **__: Any) -> float:
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return [0.25, 0.75, 0.5, 0.75][len(seen) - 1]

    monkeypatch.setattr(full, "evaluate", evaluate)
    return seen


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_the_first_of_the_best_epochs_is_the_result(
    ema_decay: float | None, accuracies: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    model = _model()
    settings = TrainSettings(epochs=4, batch_size=8, ema_decay=ema_decay)
    trained = _train(tmp_path, model, settings, keep=Keep.BEST)
    assert (trained.accuracy, trained.epoch) == (0.75, 2)
    assert trained.accuracies == (0.25, 0.75, 0.5, 0.75)
    assert all(torch.equal(v, accuracies[1][name]) for name, v in model.state_dict().items())
    rows = _rows(tmp_path)
    assert [row["validation_accuracy"] for row in rows] == ["0.25", "0.75", "0.5", "0.75"]
    assert [row["step"] for row in rows] == ["3", "6", "9", "12"]


def test_the_last_is_the_result_where_that_is_wanted(
    accuracies: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    model = _model()
    trained = _train(tmp_path, model, keep=Keep.LAST, validates=True)
    assert (trained.accuracy, trained.epoch, len(accuracies)) == (0.75, 4, 4)
    assert all(torch.equal(v, accuracies[3][name]) for name, v in model.state_dict().items())


def test_by_itself_it_is_validated_once(
    accuracies: list[dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    trained = _train(tmp_path, _model())
    assert trained.accuracies == (0.25,)
    assert [row["validation_accuracy"] for row in _rows(tmp_path)] == ["", "", "", "0.25"]


def test_the_best_is_known_to_a_training_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = _model(), _model()
    (tmp_path / "whole").mkdir()
    expected = _train(tmp_path / "whole", whole, keep=Keep.BEST, checkpoint_s=0)
    evaluate, calls = full.evaluate, iter(range(100))

    def fails_at_the_third(*arguments: Any, **options: Any) -> float:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(*arguments, **options)

    monkeypatch.setattr(full, "evaluate", fails_at_the_third)
    (tmp_path / "parts").mkdir()
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "parts", parts, keep=Keep.BEST, checkpoint_s=0)
    parts = _model()
    assert _train(tmp_path / "parts", parts, keep=Keep.BEST, checkpoint_s=0) == expected
    assert all(torch.equal(v, whole.state_dict()[name]) for name, v in parts.state_dict().items())
    columns = ("step", "loss", "validation_accuracy")
    logs = [[[row[c] for c in columns] for row in _rows(tmp_path / n)] for n in ("whole", "parts")]
    # The third epoch was over, but for what came of it: its last step is done again.
    assert [row[0] for row in logs[1]] == [row[0] for row in logs[0]]
    assert [row[2] for row in logs[1]] == [row[2] for row in logs[0]]


def test_a_training_that_was_over_still_writes_its_last_row(tmp_path: Path) -> None:
    _train(tmp_path, _model(), keep=Keep.BEST)
    before = _rows(tmp_path)
    (tmp_path / "log.csv").write_text("")  # as if it had been killed before it was validated
    _train(tmp_path, _model(), keep=Keep.BEST)
    assert _rows(tmp_path) == before[-1:]


def test_another_training_is_refused_or_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _train(tmp_path, _model())
    other = TrainSettings(epochs=2, batch_size=8)
    with pytest.raises(OtherTrainingError, match=r"training\.epochs=4, but now it is 2"):
        _train(tmp_path, _model(), other)
    expected, found = _model(), _model()
    (tmp_path / "fresh").mkdir()
    _train(tmp_path / "fresh", expected, other)
    _train(tmp_path, found, other, begins_anew=True)
    assert "training begins anew: " in capsys.readouterr().out
    assert all(
        torch.equal(v, found.state_dict()[name]) for name, v in expected.state_dict().items()
    )
    assert [row["step"] for row in _rows(tmp_path)] == ["3", "6"]
