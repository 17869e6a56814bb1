"""Optimisers against their formulas, written down in numpy."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from nas.training import TrainSettings
from nas.training.optimizers import build_optimizer, parameter_groups, set_rate

Array = NDArray[np.float64]


def _settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**{"epochs": 1, "learning_rate": 0.1} | changed)


def _steps(optimizer: Optimizer, weight: nn.Parameter, number: int) -> Iterator[Array]:
    """Each step's gradient, which the optimiser has followed when the next one comes."""
    generator = torch.Generator().manual_seed(5)
    for _ in range(number):
        weight.grad = torch.randn(weight.shape, generator=generator)
        yield weight.grad.double().numpy().copy()
        optimizer.step()


def _begun(settings: TrainSettings) -> tuple[nn.Parameter, Optimizer, Array]:
    weight = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(1)))
    before = weight.detach().double().numpy().copy()
    return weight, build_optimizer([weight], settings), before


def _check(weight: nn.Parameter, expected: Array) -> None:
    np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.9, 0.01), (0.0, 0.0)])
def test_sgd_is_gradient_descent_with_nesterovs_momentum(
    momentum: float, weight_decay: float
) -> None:
    weight, optimizer, expected = _begun(_settings(momentum=momentum, weight_decay=weight_decay))
    velocity = np.zeros_like(expected)
    for gradient in _steps(optimizer, weight, 4):
        decayed = gradient + weight_decay * expected
        velocity = momentum * velocity + decayed
        expected = expected - 0.1 * (decayed + momentum * velocity)  # the look-ahead
    _check(weight, expected)


def test_rmsprop_is_tensorflows() -> None:
    """``ApplyRMSProp`` of tensorflow/core/kernels/training_ops.cc; its ``ms`` begins with ones."""
    weight, optimizer, var = _begun(_settings(optimizer="rmsprop", weight_decay=0.01))
    rho, momentum, epsilon, l2 = 0.9, 0.9, 1e-3, 0.01
    ms, mom = np.ones_like(var), np.zeros_like(var)
    for number, gradient in enumerate(_steps(optimizer, weight, 6)):
        rate = 0.1 * 0.5**number
        set_rate(optimizer, rate)
        grad = gradient + l2 * var
        ms = ms + (grad**2 - ms) * (1 - rho)
        mom = momentum * mom + rate * grad / np.sqrt(ms + epsilon)
        var = var - mom
    _check(weight, var)


def test_rmsprop_is_not_torchs_where_gradients_are_small() -> None:
    weight, optimizer, before = _begun(_settings(optimizer="rmsprop", weight_decay=0.0))
    weight.grad = torch.full((4, 3), 1e-3)
    optimizer.step()
    # 1e-3 / √(0.9 + 0.1e-6 + 1e-3), and not 1e-3 / (√0.1e-6 + 1e-3).
    moved = before - weight.detach().double().numpy()
    np.testing.assert_allclose(moved, 0.1 * 1e-3 / np.sqrt(0.901), rtol=1e-2)


def test_adamw_decays_weights_apart_from_the_gradient() -> None:
    weight, optimizer, expected = _begun(_settings(optimizer="adamw", weight_decay=0.05))
    mean, square = np.zeros_like(expected), np.zeros_like(expected)
    for number, gradient in enumerate(_steps(optimizer, weight, 5), 1):
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        expected = expected * (1 - 0.1 * 0.05)
        corrected = np.sqrt(square / (1 - 0.999**number)) + 1e-8
        expected = expected - 0.1 * mean / (1 - 0.9**number) / corrected
    _check(weight, expected)


def test_rmsprop_goes_on_from_its_state() -> None:
    settings = _settings(optimizer="rmsprop")
    first, optimizer, _ = _begun(settings)
    gradients = list(_steps(optimizer, first, 3))
    second = nn.Parameter(first.detach().clone())
    other = build_optimizer([second], settings)
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    for weight, each in ((first, optimizer), (second, other)):
        weight.grad = torch.from_numpy(gradients[0]).float()
        each.step()
    assert torch.equal(first, second)


def test_rmsprop_leaves_alone_what_has_no_gradient_and_calls_its_closure() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = build_optimizer([used, unused], _settings(optimizer="rmsprop"))

    def closure() -> float:
        loss = (used * 3).sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(closure) == 6.0
    assert torch.equal(unused, torch.ones(2))
    assert not torch.equal(used, torch.ones(2))


def test_norms_and_biases_are_spared_where_that_is_wanted() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    settings = _settings(decay_vectors=False, weight_decay=0.5)
    optimizer = build_optimizer(parameter_groups(model, settings), settings)
    decayed = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    found = {name: decayed[id(parameter)] for name, parameter in model.named_parameters()}
    assert found == {"0.weight": 0.5, "0.bias": 0.0, "1.weight": 0.0, "1.bias": 0.0}
    everywhere = _settings(weight_decay=0.5)
    groups = build_optimizer(parameter_groups(model, everywhere), everywhere).param_groups
    assert [group["weight_decay"] for group in groups] == [0.5]


def test_the_rate_is_that_of_the_batch_size() -> None:
    settings = _settings(learning_rate=0.256, rate_batch=4096, batch_size=512)
    optimizer = build_optimizer([nn.Parameter(torch.ones(1))], settings)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.032)
