"""The model of accuracy against the textbook's formulas, written down plainly."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nas.samplers.surrogate import AccuracyModel, Networks

AMOUNTS = [2, 3, 4]
EDGE = 2e-3


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _networks(count: int, rng: np.random.Generator) -> tuple[Networks, Any]:
    indices = np.stack([rng.integers(a, size=count, dtype=np.uint8) for a in AMOUNTS], axis=1)
    return Networks.of(indices, AMOUNTS, rng.normal(size=(count, 4))), indices


def _kernel(log_weights: Any, one: tuple[Any, Any], other: tuple[Any, Any]) -> float:
    """Of two networks, each its choices and its sizes."""
    equal = np.mean(one[0] == other[0])
    product = np.mean(one[1] * other[1])
    distance = np.mean((one[1] - other[1]) ** 2)
    parts = [equal, np.exp(2 * (equal - 1)), product, np.exp(-distance / 2)]
    return float(1 + np.exp(log_weights[:4]) @ parts)


def _joint(log_weights: Any, rows: list[tuple[Any, Any]]) -> Any:
    return np.array([[_kernel(log_weights, one, other) for other in rows] for one in rows])


def _logit(accuracy: Any) -> Any:
    share = (accuracy + EDGE) / (1 + 2 * EDGE)
    return np.log(share / (1 - share))


def test_what_is_expected_is_the_conditional_normal_distribution(rng: Any) -> None:
    known, known_rows = _networks(6, rng)
    new, new_rows = _networks(3, rng)
    accuracies = rng.uniform(0.2, 0.95, size=6)
    log_weights = np.array([0.3, -0.2, 0.1, -0.5, np.log(0.02)])
    model = AccuracyModel(known, accuracies, log_weights, refit=False)

    rows = list(zip([*known_rows, *new_rows], [*known.sizes, *new.sizes], strict=True))
    joint = _joint(log_weights, rows)
    inverse = np.linalg.inv(joint[:6, :6] + 0.02 * np.eye(6))
    logits = _logit(accuracies)
    mean, scale = logits.mean(), logits.std()
    expected = joint[6:, :6] @ inverse @ ((logits - mean) / scale)
    variance = np.diag(joint[6:, 6:] - joint[6:, :6] @ inverse @ joint[:6, 6:])
    for deviations in (0.0, 1.0, -2.0):
        (found,) = model.quantiles(new, np.array([deviations]))
        by_hand = mean + scale * (expected + deviations * np.sqrt(variance))
        assert _logit(found) == pytest.approx(by_hand, rel=1e-6)
    assert model.expected(new) == pytest.approx(model.quantiles(new, np.zeros(1))[0])


def test_the_weights_found_are_the_likeliest_nearby(rng: Any) -> None:
    networks, rows = _networks(40, rng)
    noise = rng.normal(scale=0.5, size=40)
    accuracies = 1 / (1 + np.exp(-(networks.sizes[:, 0] + 0.5 * rows[:, 2] - 1 + noise)))
    model = AccuracyModel(networks, accuracies)
    logits = _logit(accuracies)
    targets = (logits - logits.mean()) / logits.std()
    points = list(zip(rows, networks.sizes, strict=True))

    def evidence(log_weights: Any) -> float:
        covariance = _joint(log_weights, points) + np.exp(log_weights[4]) * np.eye(40)
        prior = log_weights - [0, 0, 0, 0, np.log(0.15)]
        return float(multivariate_normal.logpdf(targets, cov=covariance) - prior @ prior / 2)

    best = evidence(model.log_weights)
    for column in range(5):
        for step in (-0.3, 0.3):
            moved = model.log_weights.copy()
            moved[column] = np.clip(moved[column] + step, -7, 4)  # which they are kept within
            assert evidence(moved) <= best


def test_accuracies_of_nothing_and_of_everything_right_are_no_error(rng: Any) -> None:
    networks, _ = _networks(3, rng)
    model = AccuracyModel(networks, np.array([0.0, 1.0, 0.5]))
    expected = model.expected(networks)
    assert ((expected >= 0) & (expected <= 1)).all()
    assert expected[0] < expected[2] < expected[1]


def test_equal_accuracies_are_expected_everywhere(rng: Any) -> None:
    known, _ = _networks(5, rng)
    new, _ = _networks(5, rng)
    model = AccuracyModel(known, np.full(5, 0.7))
    assert model.expected(new) == pytest.approx(np.full(5, 0.7))
