"""A training that fails says what mends it; and that does mend it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._inductor.exc import CppCompileError, InductorError, InvalidCxxCompiler

from latency.console import Terminal
from nas.data import MemorySplit
from nas.pipeline import FAILURES
from nas.training import TrainSettings
from nas.training.failures import TrainingError
from nas.training.full import FullTraining, Keep
from nas.training.learner import Learner
from nas.training.meter import DivergenceError
from nas.training.weights import load_weights

DATA = MemorySplit(
    images=torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(7)),
    labels=torch.arange(24) % 3,
)
WILD: dict[str, Any] = {
    "epochs": 500, "learning_rate": 1000.0, "weight_decay": 1.0, "warmup": 1.0,
}  # fmt: skip


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )


def _train(
    folder: Path, model: nn.Module, changed: dict[str, Any] | None = None, **options: Any
) -> None:
    settings = TrainSettings(**{"epochs": 2, "batch_size": 8} | (changed or {}))
    FullTraining(settings=settings, seed=1, **options).train(
        model, DATA, DATA, resolution=8, folder=folder, title="training", terminal=Terminal()
    )


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_what_diverged_goes_on_from_its_last_finite_state_as_is_said(
    ema_decay: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, loss_of = tmp_path / "checkpoint.pt", Learner.loss_of

    def diverges(learner: Learner, images: Tensor, labels: Tensor, step: int) -> Tensor:
        return loss_of(learner, images, labels, step) * (1 if step < 4 else float("nan"))

    with monkeypatch.context() as diverging:
        diverging.setattr(Learner, "loss_of", diverges)
        with pytest.raises(DivergenceError, match=r"the loss is nan at step 4 of 6; ") as failed:
            _train(tmp_path, _model(), {"ema_decay": ema_decay}, checkpoint_s=0)
    assert str(failed.value).endswith(
        f"(it is 0.05): to go on from the last finite state give weights={kept}, a lower "
        "training.learning_rate and another name=…"
    )
    model, calmer = _model(), tmp_path / "calmer"
    weights = load_weights(kept)
    learner = torch.load(kept, weights_only=True)["state"]["learner"]
    expected = learner["model" if ema_decay is None else "average"]
    assert weights.keys() == model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    model.load_state_dict(weights)
    calmer.mkdir()
    _train(calmer, model, {"learning_rate": 1e-3})
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_a_finished_trainings_checkpoint_holds_its_result(
    ema_decay: float | None, tmp_path: Path
) -> None:
    model = _model()
    _train(tmp_path, model, {"ema_decay": ema_decay}, keep=Keep.LAST)
    weights = load_weights(tmp_path / "checkpoint.pt")
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(v, weights[name]) for name, v in model.state_dict().items())


def test_where_nothing_was_kept_yet_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DivergenceError) as failed:
        _train(tmp_path, _model(), WILD, checkpoint_s=1e6)
    assert str(failed.value).endswith(": give a lower training.learning_rate and another name=…")


def test_where_settings_may_change_the_same_command_trains_anew(tmp_path: Path) -> None:
    options: dict[str, Any] = {"group": "final", "begins_anew": True, "checkpoint_s": 0}
    with pytest.raises(
        DivergenceError, match=r"a lower final\.learning_rate, and the same command trains anew$"
    ):
        _train(tmp_path, _model(), WILD, **options)
    assert (tmp_path / "checkpoint.pt").exists()
    model = _model()
    _train(tmp_path, model, {"learning_rate": 1e-3}, **options)
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``fail(error)``: the first step raises it."""

    def fail(error: BaseException) -> None:
        def loss_of(*_: object) -> Tensor:
            raise error

        monkeypatch.setattr(Learner, "loss_of", loss_of)

    return fail


def _failed(folder: Path, changed: dict[str, Any], **options: Any) -> str:
    with pytest.raises(TrainingError) as failed:
        _train(folder, _model(), changed, **options)
    assert isinstance(failed.value, FAILURES)
    assert "\n" not in str(failed.value)
    return str(failed.value)


def test_of_a_full_gpu_the_settings_are_named_that_take_less(fail: Any, tmp_path: Path) -> None:
    fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the docs"))
    begins = (
        "the memory of cpu does not suffice for {}.batch_size=8 (CUDA out of memory. Tried to "
        "allocate 2.00 GiB.); give a lower {}.batch_size"
    )
    said = _failed(tmp_path, {})
    assert said == begins.format("training", "training") + (
        ", or ++training.accumulate=2 for the same batch in smaller parts, and another name=…"
    )
    said = _failed(tmp_path, {"accumulate": 3}, group="final", begins_anew=True)
    assert said == begins.format("final", "final") + (
        ", or ++final.accumulate=4 for the same batch in smaller parts"
    )
    said = _failed(tmp_path, {"accumulate": 4}, group="final", begins_anew=True)
    assert said == begins.format("final", "final")


class _Greedy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 3)

    def forward(self, images: Tensor) -> Tensor:
        torch.empty(1 << 50)  # more than any machine can address
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def test_of_a_full_machine_too(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"^the memory of this machine .*can't allocate memory"):
        _train(tmp_path, _Greedy())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InductorError(InvalidCxxCompiler(), None), "No working C++ compiler found in "),
        (InvalidCxxCompiler(), "No working C++ compiler found in "),
        (CppCompileError(["g++", "a.cpp"], "a.cpp:1: error:\n…"), "C++ compile error)"),
    ],
)
def test_without_a_compiler_the_setting_is_named(
    error: Exception, said: str, fail: Any, tmp_path: Path
) -> None:
    fail(error)
    message = _failed(tmp_path, {"compile": True})
    assert message.startswith(f"torch cannot compile the network here ({said}")
    assert message.endswith("give ++training.compile=false, or install what it needs")


def test_what_is_too_large_to_compile_is_too_large(fail: Any, tmp_path: Path) -> None:
    fail(InductorError(torch.OutOfMemoryError("CUDA out of memory."), None))
    assert "(CUDA out of memory.); give a lower" in _failed(tmp_path, {"compile": True})


@pytest.mark.parametrize("compiled", [False, True])
def test_other_failures_are_ours_and_stay_as_they_are(
    compiled: bool, fail: Any, tmp_path: Path
) -> None:
    error = RuntimeError("a bug")
    fail(error)
    with pytest.raises(RuntimeError) as failed:
        _train(tmp_path, _model(), {"compile": compiled})
    assert failed.value is error
