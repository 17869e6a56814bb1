"""The training loop: its schedule, that it learns, that it repeats, and how it fails."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from nas.data import MemorySplit, Split
from nas.training import TrainSettings, evaluate, train
from nas.training.loop import DivergenceError, build_optimizer, rate_factor


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        # 100 steps, 20 of them warm-up: 1/21, 2/21, … then half a cosine over the other 80.
        (0, 1 / 21),
        (1, 2 / 21),
        (19, 20 / 21),
        (20, 1.0),
        (40, 0.5 * (1 + math.sqrt(0.5))),
        (60, 0.5),
        (80, 0.5 * (1 - math.sqrt(0.5))),
        (100, 0.0),
    ],
)
def test_the_rate_rises_linearly_and_falls_by_half_a_cosine(step: int, expected: float) -> None:
    assert rate_factor(step, 100, 0.2) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "total", "warmup", "expected"),
    [
        (0, 10, 0.0, 1.0),
        (5, 10, 0.0, 0.5),
        (0, 1, 0.0, 1.0),
        (0, 1, 0.2, 1 / 1.2),
        (9, 10, 1.0, 10 / 11),
    ],
)
def test_the_rate_without_warm_up_or_with_nothing_else(
    step: int, total: int, warmup: float, expected: float
) -> None:
    assert rate_factor(step, total, warmup) == pytest.approx(expected)


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


def _train(model: nn.Module, *, seed: int = 0, **changed: Any) -> list[tuple[int, int]]:
    steps: list[tuple[int, int]] = []
    train(
        model,
        _bright_or_dark(),
        _settings(**changed),
        resolution=8,
        seed=seed,
        on_step=lambda *step: steps.append(step),  # type: ignore[arg-type]
    )
    return steps


def _loss(model: nn.Module) -> float:
    data = _bright_or_dark()
    with torch.no_grad():
        return float(nn.functional.cross_entropy(model.eval()(data.images), data.labels))


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.01), (0.0, 0.0)])
def test_the_optimizer_is_gradient_descent_with_nesterovs_momentum(
    momentum: float, weight_decay: float
) -> None:
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(
        model.parameters(), _settings(momentum=momentum, weight_decay=weight_decay)
    )
    weight, velocity = model.weight.detach().clone(), torch.zeros(2, 3)
    for _ in range(3):
        model.weight.grad = torch.randn(2, 3)
        gradient = model.weight.grad + weight_decay * weight
        velocity = momentum * velocity + gradient
        weight = weight - 0.1 * (gradient + momentum * velocity)  # the look-ahead
        optimizer.step()
    torch.testing.assert_close(model.weight.detach(), weight, rtol=0, atol=1e-6)


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


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("epochs", 0, "an integer in 1..100000"),
        ("epochs", 2.0, "an integer in 1..100000"),
        ("epochs", True, "an integer in 1..100000"),
        ("batch_size", 1, "an integer in 2..65536"),
        ("learning_rate", 0, "a number in 1e-12..1000.0"),
        ("learning_rate", float("nan"), "a number in 1e-12..1000.0"),
        ("learning_rate", "0.1", "a number in 1e-12..1000.0"),
        ("momentum", 1.0, "a number in 0..0.9999"),
        ("weight_decay", -1e-4, "a number in 0..1"),
        ("label_smoothing", 1, "a number in 0..0.99"),
        ("warmup", 1.5, "a number in 0..1"),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match="TrainSettings") as caught:
        _settings(**{field: value})
    assert str(caught.value) == f"TrainSettings.{field} must be {rule}, but got {value!r}"
