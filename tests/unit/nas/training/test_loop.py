"""The training loop: that it learns, that it repeats, what each setting does, and how it fails."""

from typing import Any

import pytest
import torch
from torch import nn

from nas.data import MemorySplit, Split
from nas.training import TrainSettings, evaluate, train
from nas.training.meter import DivergenceError, Report


def _bright_or_dark(number: int = 64) -> Split:
    """Class 1 is brighter than class 0 by three standard deviations of the noise's mean."""
    labels = torch.arange(number) % 2
    noise = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    return MemorySplit(images=noise + labels.view(-1, 1, 1, 1).float(), labels=labels)


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def _settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{"epochs": 4, "batch_size": 16, "learning_rate": 0.1} | changed)


def _train(
    model: nn.Module, *, seed: int = 0, given: dict[str, Any] | None = None, **changed: Any
) -> list[tuple[int, int]]:
    """Train with changed settings; ``given`` is handed to ``train``."""
    steps: list[tuple[int, int]] = []
    train(
        model,
        _bright_or_dark(),
        _settings(**changed),
        resolution=8,
        seed=seed,
        on_step=lambda *step: steps.append(step),  # type: ignore[arg-type]
        **(given or {}),
    )
    return steps


def _loss(model: nn.Module) -> float:
    data = _bright_or_dark()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model.eval()(data.images), data.labels))


def test_training_lowers_the_loss_and_finds_the_classes() -> None:
    model = _model()
    before = _loss(model)
    assert before > 0.6
    steps = _train(model)
    assert _loss(model) < 0.7 * before
    assert steps == [(step, 16) for step in range(1, 17)]
    accuracy = evaluate(
        model, _bright_or_dark(), resolution=8, batch_size=16, on_step=lambda *_: None
    )
    assert accuracy > 0.95


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    first, second, other = _model(), _model(), _model()
    _train(first)
    _train(second)
    _train(other, seed=1)
    for name, weights in first.state_dict().items():
        assert torch.equal(weights, second.state_dict()[name]), name
    assert not torch.equal(first.state_dict()["0.weight"], other.state_dict()["0.weight"])


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    assert _train(_model(), epochs=3, batch_size=1000) == [(1, 3), (2, 3), (3, 3)]


def test_a_loss_that_is_no_number_stops_training_and_says_what_to_lower() -> None:
    with pytest.raises(
        DivergenceError, match=r"the loss is (nan|inf) at step \d+ of 2000; lower"
    ) as e:
        _train(_model(), epochs=500, learning_rate=1000.0, weight_decay=1.0)  # fmt: skip
    assert "learning rate (it is 1000.0)" in str(e.value)


def test_evaluating_counts_every_image_and_changes_nothing() -> None:
    class Always1(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert not self.training
            return torch.tensor([0.0, 1.0, 0.5]).repeat(len(images), 1)

    labels = torch.tensor([1, 0, 1, 2, 1, 1, 0])
    data = MemorySplit(images=torch.zeros(7, 3, 4, 4), labels=labels)
    steps: list[tuple[int, int]] = []
    accuracy = evaluate(
        Always1(),
        data,
        resolution=4,
        batch_size=3,
        on_step=lambda *s: steps.append(s),  # type: ignore[arg-type]
    )
    assert accuracy == 4 / 7
    assert steps == [(3, 7), (6, 7), (7, 7)]


def test_evaluating_leaves_the_norms_alone() -> None:
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    evaluate(model, _bright_or_dark(), resolution=8, batch_size=16, on_step=lambda *_: None)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def _normless() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.0), nn.Linear(192, 2))


def _weights(**changed: Any) -> dict[str, torch.Tensor]:
    model = _normless()
    _train(model, epochs=1, **changed)
    return model.state_dict()


def _differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


def test_a_step_in_parts_follows_the_same_gradient() -> None:
    whole = _weights()
    assert _differ(whole, _normless().state_dict()) > 0
    assert _differ(whole, _weights(accumulate=4)) < 1e-6
    mixing = {"mixup": 0.4, "cutmix": 1.0}
    assert _differ(_weights(**mixing), _weights(**mixing, accumulate=4)) < 1e-6


@pytest.mark.parametrize(
    "changed",
    [{"mixup": 0.4}, {"cutmix": 1.0}, {"dropout": 0.5}],
    ids=lambda each: next(iter(each)),
)
def test_what_is_random_in_a_step_follows_from_the_seed(changed: dict[str, Any]) -> None:
    torch.manual_seed(11)
    first = _weights(**changed)
    torch.manual_seed(12)
    assert _differ(first, _weights(**changed)) == 0
    assert _differ(first, _weights()) > 1e-3


def test_the_gradient_is_clipped_before_it_is_followed() -> None:
    model = _normless()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = {"gradient_clip": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "warmup": 0.0}
    _train(model, given={"steps": 1}, learning_rate=0.1, **settings)
    moved = torch.cat([(model.state_dict()[name] - before[name]).flatten() for name in before])
    assert float(moved.norm()) == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_the_result_is_the_average_and_so_is_what_is_evaluated_meanwhile() -> None:
    """With d = 2/11 after the first step, whose weights are those of a training without average."""
    begun, first = _normless().state_dict(), _normless()
    one_epoch = {"epochs": 2, "batch_size": 64, "schedule": "step_exponential", "warmup": 0.0}
    _train(first, given={"steps": 1}, **one_epoch)
    averaged, seen = _normless(), []

    def look(epoch: int) -> None:
        assert epoch == 1
        seen.append({name: value.clone() for name, value in averaged.state_dict().items()})

    _train(averaged, given={"on_epoch": look}, ema_decay=0.9999, **one_epoch)
    expected = {
        name: 2 / 11 * begun[name] + 9 / 11 * value for name, value in first.state_dict().items()
    }
    assert _differ(expected, seen[0]) < 1e-6
    second = _normless()
    _train(second, **one_epoch)
    last = {name: 3 / 12 * seen[0][name] + 9 / 12 * v for name, v in second.state_dict().items()}
    assert _differ(last, averaged.state_dict()) < 1e-6


def test_bfloat16_learns_too_and_leaves_weights_in_float32() -> None:
    model, exact = _model(), _model()
    before = _loss(model)
    _train(model, precision="bf16-mixed")
    _train(exact)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert _loss(model) < 0.7 * before
    assert 0 < _differ(model.state_dict(), exact.state_dict()) < 0.1


def test_reports_are_means_and_come_at_the_end_of_every_epoch() -> None:
    reports: list[Report] = []
    _train(_normless(), given={"on_report": reports.append}, epochs=2)
    assert [(each.step, each.total, each.epoch) for each in reports] == [(4, 8, 1), (8, 8, 2)]
    assert all(each.ends_epoch for each in reports)
    assert all(0 < each.loss < 3 for each in reports)
    assert all(each.images_per_s > 0 for each in reports)
    reports.clear()
    _train(_normless(), given={"on_report": reports.append}, epochs=1, batch_size=2)
    steps = [(each.step, each.ends_epoch) for each in reports]
    assert steps[-1] == (32, True)
    reports.clear()
    _train(_normless(), given={"on_report": reports.append, "steps": 120}, batch_size=2)
    assert [each.step for each in reports] == [32, 64, 96, 120]
    assert [each.epoch for each in reports] == [1, 2, 3, 4]


def test_a_dropout_that_the_network_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropout=0\.2, but the network has no dropout"):
        _train(_model(), dropout=0.2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"accelerator": "cuda"}, "accelerator=cuda, but torch finds no CUDA device here"),
        ({"precision": "16-mixed"}, "precision=16-mixed needs a CUDA device"),
    ],
)
def test_a_device_that_is_not_there_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _train(_model(), **changed)
