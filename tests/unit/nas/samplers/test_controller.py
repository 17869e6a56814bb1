"""The controller's distribution, held to an LSTM written out in numpy."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from nas.samplers.controller import Controller

AMOUNTS = (3, 2, 1, 4)
EVERYTHING = np.array(list(product(*map(range, AMOUNTS))))


@pytest.fixture
def controller() -> Controller:
    """With weights far from even, as after much learning."""
    made = Controller(AMOUNTS, units=5, seed=3)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(12)
    return made


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _by_hand(controller: Controller, row: Any) -> tuple[list[float], list[float]]:
    """Log-probabilities and entropies of a network's choices: Hochreiter and Schmidhuber's LSTM."""
    weights = {
        name: value.detach().double().numpy() for name, value in controller.named_parameters()
    }
    hidden, cell, token = np.zeros(5), np.zeros(5), 0
    logs, entropies = [], []
    for choice, (amount, index) in enumerate(zip(AMOUNTS, row, strict=True)):
        gates = (
            weights["lstm.weight_ih_l0"] @ weights["embedding.weight"][token]
            + weights["lstm.bias_ih_l0"]
            + weights["lstm.weight_hh_l0"] @ hidden
            + weights["lstm.bias_hh_l0"]
        )
        enter, forget, value, leave = np.split(gates, 4)
        cell = _sigmoid(forget) * cell + _sigmoid(enter) * np.tanh(value)
        hidden = _sigmoid(leave) * np.tanh(cell)
        scores = hidden @ weights["heads"][choice][:, :amount] + weights["biases"][choice][:amount]
        probabilities = np.exp(scores) / np.exp(scores).sum()
        logs.append(np.log(probabilities[index]))
        entropies.append(-(probabilities * np.log(probabilities)).sum())
        token = 1 + sum(AMOUNTS[:choice]) + index
    return logs, entropies


def test_log_probabilities_and_entropies_are_those_of_an_lstm(controller: Controller) -> None:
    logs, entropies = controller(torch.tensor(EVERYTHING))
    for row, log, entropy in zip(EVERYTHING, logs.tolist(), entropies.tolist(), strict=True):
        expected_logs, expected_entropies = _by_hand(controller, row)
        assert log == pytest.approx(expected_logs, abs=1e-5)
        assert entropy == pytest.approx(expected_entropies, abs=1e-5)


def test_probabilities_of_all_networks_add_up_to_one(controller: Controller) -> None:
    logs, _ = controller(torch.tensor(EVERYTHING))
    probabilities = logs.detach().sum(dim=1).exp()
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)
    assert float(probabilities.max() / probabilities.min()) > 5  # this is not the even one
    assert logs[:, 2].tolist() == [0.0] * len(EVERYTHING)  # of one value only


def test_networks_are_drawn_as_often_as_they_are_probable(controller: Controller) -> None:
    count = 40_000
    drawn = controller.sample(count, np.random.default_rng(0))
    assert drawn.dtype == np.uint8
    assert drawn.max(axis=0).tolist() == [2, 1, 0, 3]
    expected = controller(torch.tensor(EVERYTHING))[0].sum(dim=1).exp().tolist()
    for row, probability in zip(EVERYTHING, expected, strict=True):
        share = (drawn == row).all(axis=1).mean()
        assert share == pytest.approx(probability, abs=5 * np.sqrt(probability / count)), row


def test_it_begins_nearly_even_within_a_tenth() -> None:
    controller = Controller([3] * 41, units=100, seed=0)
    values = torch.cat([parameter.flatten() for parameter in controller.parameters()])
    assert values.abs().max() <= 0.1
    assert values.std().item() == pytest.approx(0.2 / 12**0.5, rel=0.01)
    logs, entropies = controller(torch.zeros(1, 41, dtype=torch.long))
    assert (logs.exp() - 1 / 3).abs().max() < 0.12
    assert entropies.mean().item() == pytest.approx(np.log(3), abs=0.01)


def test_the_seed_makes_the_controller() -> None:
    first, second, other = (Controller(AMOUNTS, units=5, seed=seed) for seed in (1, 1, 2))
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name))
        assert not torch.equal(parameter, other.get_parameter(name))
