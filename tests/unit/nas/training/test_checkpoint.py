"""A training that is stopped anywhere ends with the weights of one that is not; to the bit."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from nas.data import Augmentation, MemorySplit, Split
from nas.training import TrainSettings, train
from nas.training.checkpoint import Checkpoints, OtherTrainingError, load_checkpoint
from nas.training.meter import DivergenceError

KINDS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "rmsprop": {"optimizer": "rmsprop", "schedule": "step_exponential", "learning_rate": 0.01},
    "everything": {
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "dropout": 0.3,
        "mixup": 0.3,
        "cutmix": 1.0,
        "ema_decay": 0.9,
        "gradient_clip": 1.0,
        "accumulate": 2,
        "decay_vectors": False,
        "augmentation": Augmentation(crop=0.5, flip=True, rand_augment=5.0, erase=0.3),
    },
}


class _StoppedError(Exception):
    pass


def _model(seed: int = 3, width: int = 8) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, stride=2, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(width, 3),
    )


def _data(shift: int = 0) -> Split:
    generator = torch.Generator().manual_seed(7)
    labels = (torch.arange(40) + shift) % 3
    return MemorySplit(images=torch.rand(40, 3, 8, 8, generator=generator), labels=labels)


class _Counter:
    """Something that is kept beside a training."""

    def __init__(self) -> None:
        self.epochs: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": list(self.epochs)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = list(state["epochs"])


def _settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{"epochs": 4, "batch_size": 8} | changed)


def _train(
    settings: TrainSettings,
    path: Path | None,
    *,
    stop_at: int = 0,
    every_s: float = 0.0,
    counter: _Counter | None = None,
    model: nn.Module | None = None,
    data: Split | None = None,
    **given: Any,
) -> tuple[dict[str, torch.Tensor], list[int]]:
    """The weights in the end, and the steps that were done."""
    steps: list[int] = []

    def on_step(done: int, _: int) -> None:
        steps.append(done)
        if done == stop_at:
            raise _StoppedError

    counter = counter or _Counter()
    model = model or _model()
    checkpoints = None
    if path is not None:
        checkpoints = Checkpoints(path=path, every_s=every_s, beside=counter)
    train(
        model,
        data or _data(),
        settings,
        **{"resolution": 8, "seed": 1} | given,
        on_step=on_step,
        on_epoch=lambda epoch: counter.epochs.append(epoch),
        checkpoints=checkpoints,
    )
    return model.state_dict(), steps


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_at_random_steps_it_ends_with_the_same_weights(kind: str, tmp_path: Path) -> None:
    settings, path, counter = _settings(**KINDS[kind]), tmp_path / "checkpoint.pt", _Counter()
    expected, _ = _train(settings, None)
    for stop_at in sorted(random.sample(range(1, 21), 3)):
        with pytest.raises(_StoppedError):
            _train(settings, path, stop_at=stop_at, counter=_Counter())
    found, steps = _train(settings, path, counter=counter)
    assert steps[0] > 1
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    assert counter.epochs == [1, 2, 3]


def test_what_is_seldom_kept_is_kept_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    """After a tenth of the time between two checkpoints; here, at once."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(_StoppedError):
        _train(_settings(), path, stop_at=13, every_s=1e-6)
    _, steps = _train(_settings(), path, every_s=1e6)
    assert steps[0] in (13, 11)
    assert steps[-1] == 20


def test_a_training_that_is_over_is_not_done_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first, _ = _train(_settings(ema_decay=0.9), path, every_s=1e6)
    second, steps = _train(_settings(ema_decay=0.9), path)
    assert steps == []
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"settings": _settings(learning_rate=0.1)}, r"training\.learning_rate=0\.05, .* 0\.1;"),
        ({"settings": _settings(ema_decay=0.9)}, r"training\.ema_decay=None, .* 0\.9;"),
        (
            {"settings": _settings(augmentation=Augmentation(flip=True))},
            r"training\.augmentation\.flip=False, .* True;",
        ),
        ({"settings": _settings(optimizer="adamw")}, "training.optimizer=sgd, .* adamw;"),
        ({"resolution": 16}, "resolution=8, .* 16;"),
        ({"seed": 2}, "seed=1, .* 2;"),
        ({"steps": 7}, "steps=20, .* 7;"),
        ({"model": _model(width=4)}, "network="),
        ({"model": _model(seed=4)}, "weights="),
        ({"data": _data(shift=1)}, "data="),
    ],
    ids=[
        "rate",
        "average",
        "flip",
        "optimizer",
        "size",
        "seed",
        "steps",
        "network",
        "weights",
        "data",
    ],
)
def test_a_training_that_is_another_is_refused(
    changed: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(_StoppedError):
        _train(_settings(), path, stop_at=3)
    with pytest.raises(OtherTrainingError, match=f"is of a training with {named}"):
        _train(**{"settings": _settings(), "path": path} | changed)
    assert path.exists()


def test_threads_may_change(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(_StoppedError):
        _train(_settings(), path, stop_at=3)
    _, steps = _train(replace(_settings(), threads=2), path)
    assert steps[0] == 3


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 of something else", b"\x80\x02}q\x00."])
def test_a_damaged_file_is_said_to_be_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.pt (is damaged|holds no training).*delete"):
        _train(_settings(), path)


def test_without_a_file_there_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none.pt", {}) is None


def test_where_it_diverges_the_last_good_state_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    wild = _settings(epochs=500, learning_rate=1000.0, weight_decay=1.0, warmup=1.0)
    with pytest.raises(DivergenceError, match=r"lower the learning rate \(it is 1000"):
        _train(wild, path)
    state = torch.load(path, weights_only=True)["state"]
    weights = state["learner"]["model"].values()
    assert state["step"] > 0
    assert all(bool(torch.isfinite(value).all()) for value in weights)
