"""The moving average against sums that are written out."""

import pytest
import torch
from torch import nn

from nas.training.ema import WeightAverage


def _set(model: nn.BatchNorm1d, weight: float, mean: float, counted: int) -> None:
    with torch.no_grad():
        model.weight.fill_(weight)
        model.running_mean.fill_(mean)  # type: ignore[union-attr, operator]
        model.num_batches_tracked.fill_(counted)  # type: ignore[union-attr, operator]


def test_weights_and_what_norms_count_are_averaged() -> None:
    model = nn.BatchNorm1d(1)
    _set(model, 1.0, 10.0, 0)
    average = WeightAverage(model, 0.25)  # below (1 + t) / (10 + t) from t = 2 on
    _set(model, 2.0, 20.0, 1)
    average.update(1)
    _set(model, 4.0, 0.0, 2)
    average.update(2)
    state = average.state_dict()
    first = 2 / 11  # (1 + 1) / (10 + 1)
    weight = 0.25 * (first * 1 + (1 - first) * 2) + 0.75 * 4
    mean = 0.25 * (first * 10 + (1 - first) * 20) + 0.75 * 0
    assert float(state["weight"]) == pytest.approx(weight)
    assert float(state["running_mean"]) == pytest.approx(mean)
    assert int(state["num_batches_tracked"]) == 2


def test_a_long_training_is_averaged_by_the_decay_itself() -> None:
    model = nn.BatchNorm1d(1)
    _set(model, 0.0, 0.0, 0)
    average = WeightAverage(model, 0.9)
    _set(model, 1.0, 0.0, 0)
    average.update(100_000)
    assert float(average.state_dict()["weight"]) == pytest.approx(0.1)


def test_the_model_has_the_average_only_while_it_is_applied() -> None:
    model = nn.BatchNorm1d(1)
    _set(model, 1.0, 0.0, 0)
    average = WeightAverage(model, 0.5)
    _set(model, 3.0, 0.0, 0)
    with average.applied():
        assert model.weight.tolist() == [1.0]
    assert model.weight.tolist() == [3.0]
    average.apply()
    assert model.weight.tolist() == [1.0]


def test_it_goes_on_from_its_state() -> None:
    model = nn.BatchNorm1d(1)
    first = WeightAverage(model, 0.5)
    _set(model, 3.0, 1.0, 4)
    first.update(10)
    kept = {name: value.clone() for name, value in first.state_dict().items()}
    second = WeightAverage(nn.BatchNorm1d(1), 0.5)
    second.load_state_dict(kept)
    assert {name: float(value) for name, value in second.state_dict().items()} == {
        name: float(value) for name, value in kept.items()
    }
