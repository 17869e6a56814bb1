"""A Gaussian process of accuracy: what is expected of networks that nobody has trained.

The logit of accuracy is modelled, for errors shrink by factors and not by differences. The kernel
is a sum of four, with weights found by evidence (Rasmussen & Williams, 2006, section 5.4):

- the share of equal choices: every choice has an effect of its own;
- exponential in the share of unequal choices: effects of choices that meet;
- linear and squared-exponential in the logarithms of the network's sizes (latency, MAdds,
  parameters, depth): larger networks are more
  accurate, less so the larger they are. That is learnt from a handful of networks, when the
  effects of single choices cannot be told from noise yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from nas.reward import Floats
from search_spaces.spaces.staged import Indices

_KERNELS = 4
_DECAY = 2.0
_EDGE = 2e-3
"""Keeps the logit of accuracies of 0 and 1 finite."""
_CONSTANT = 1.0
_LOG_WEIGHT_BOUNDS = (-7.0, 4.0)
_LOG_NOISE_BOUNDS = (float(np.log(1e-3)), 0.0)
_USUAL = np.array([0.0] * _KERNELS + [np.log(0.15)])
"""The weights' logarithms before anything is known: all kernels alike, and of the variance of
accuracies 15 % from training again. Give or take 1; were they freer, a handful of networks would
say too much.
"""
_AT_ONCE = 128
"""Rows of a covariance that are computed together: they stay in the processor's cache."""
MOST_FOR_EVIDENCE = 200
"""Networks that the weights are found on, the latest ones: the cost grows with their cube."""


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks as the model sees them.

    Attributes:
        values: (networks, values of all choices): 1 where a choice has the value, else 0.
        sizes: (networks, sizes): logarithms, standardised over the space.
        choices: how many choices there are.
    """

    values: NDArray[np.float32]
    sizes: Floats
    choices: int

    @staticmethod
    def of(indices: Indices, amounts: Sequence[int], sizes: Floats) -> "Networks":
        """Networks as rows of a space whose choices have ``amounts`` of values each."""
        columns = [
            indices[:, [column]] == np.arange(amount, dtype=np.uint8)
            for column, amount in enumerate(amounts)
        ]
        values = np.concatenate(columns, axis=1).astype(np.float32)
        return Networks(values, sizes, len(amounts))

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> "Networks":
        return Networks(self.values[rows], self.sizes[rows], self.choices)


class AccuracyModel:
    """Fitted to some networks' accuracies, it tells those of others, and how sure that is."""

    def __init__(
        self,
        networks: Networks,
        accuracies: Floats,
        log_weights: Floats | None = None,
        *,
        refit: bool = True,
    ) -> None:
        """Fit the model.

        Args:
            networks: at least one.
            accuracies: (networks,), in 0..1.
            log_weights: of an earlier model.
            refit: whether to find them anew, beginning there.
        """
        logits = _logit(accuracies)
        self._mean, self._scale = float(logits.mean()), float(logits.std()) or 1.0
        targets = (logits - self._mean) / self._scale
        self._networks = networks
        if log_weights is None or refit:
            latest = slice(-MOST_FOR_EVIDENCE, None)
            log_weights = _fit(networks[latest], targets[latest], log_weights)
        self.log_weights = log_weights
        covariance = self._covariance(networks, networks)
        covariance.flat[:: len(networks) + 1] += np.exp(self.log_weights[-1])
        self._factor = cholesky(covariance, lower=True)
        self._solved = cho_solve((self._factor, True), targets)

    def expected(self, networks: Networks) -> Floats:
        """(networks,): the most likely accuracy of each, in 0..1."""
        return self._accuracy(self._covariance(networks, self._networks) @ self._solved)

    def quantiles(self, networks: Networks, deviations: Floats) -> Floats:
        """(deviations, networks): accuracies so many standard deviations above the most likely."""
        cross = self._covariance(networks, self._networks)
        explained = solve_triangular(self._factor, cross.T, lower=True)
        variance = self._variances(networks) - (explained * explained).sum(axis=0)
        deviation = np.sqrt(np.maximum(variance, 0))
        return self._accuracy(cross @ self._solved + deviations[:, None] * deviation)

    def _accuracy(self, targets: Floats) -> Floats:
        logits = self._mean + self._scale * targets
        return np.asarray((1 + 2 * _EDGE) / (1 + np.exp(-logits)) - _EDGE)

    def _covariance(self, some: Networks, others: Networks) -> Floats:
        """(some, others): the weighted sum of ``_kernels``."""
        weights = np.exp(self.log_weights[:_KERNELS])
        # What follows from the number of equal choices is looked up by it.
        shares = np.arange(some.choices + 1) / some.choices
        by_equal = _CONSTANT + weights[0] * shares + weights[1] * np.exp(_DECAY * (shares - 1))
        squares = _half_squares(others)
        covariance = np.empty((len(some), len(others)))
        for begin in range(0, len(some), _AT_ONCE):
            rows = slice(begin, begin + _AT_ONCE)
            part = some[rows]
            added = covariance[rows]
            equal = (part.values @ others.values.T).astype(np.intp)
            by_equal.take(equal, out=added, mode="clip")
            product = part.sizes @ others.sizes.T / some.sizes.shape[1]
            near = product - _half_squares(part)[:, None]
            near -= squares
            np.exp(near, out=near)
            product *= weights[2]
            added += product
            near *= weights[3]
            added += near
        return covariance

    def _variances(self, networks: Networks) -> Floats:
        weights = np.exp(self.log_weights[:_KERNELS])
        trend = (networks.sizes**2).mean(axis=1)
        return np.asarray(_CONSTANT + weights[0] + weights[1] + weights[2] * trend + weights[3])


def _logit(accuracies: Floats) -> Floats:
    share = (accuracies + _EDGE) / (1 + 2 * _EDGE)
    return np.asarray(np.log(share / (1 - share)))


def _kernels(some: Networks, others: Networks) -> list[Floats]:
    equal = (some.values @ others.values.T).astype(np.float64) / some.choices
    product = some.sizes @ others.sizes.T / some.sizes.shape[1]
    near = np.exp(product - _half_squares(some)[:, None] - _half_squares(others))
    return [equal, np.exp(_DECAY * (equal - 1)), product, near]


def _half_squares(networks: Networks) -> Floats:
    return np.asarray((networks.sizes**2).mean(axis=1) / 2)


def _fit(networks: Networks, targets: Floats, start: Floats | None) -> Floats:
    """The logarithms of the kernels' weights, and of the noise, that are most likely."""
    kernels = _kernels(networks, networks)
    count = len(networks)

    def loss(log_weights: Floats) -> tuple[float, Floats]:
        weights = np.exp(log_weights)
        covariance = sum(
            (weight * kernel for weight, kernel in zip(weights, kernels, strict=False)),
            start=np.full((count, count), _CONSTANT),
        )
        covariance.flat[:: count + 1] += weights[-1]
        factor = cholesky(covariance, lower=True)
        solved = cho_solve((factor, True), targets)
        inverse = cho_solve((factor, True), np.eye(count))
        sensitivity = np.outer(solved, solved) - inverse
        slopes = [(sensitivity * kernel).sum() for kernel in kernels] + [sensitivity.trace()]
        deviation = log_weights - _USUAL
        evidence = targets @ solved / 2 + np.log(np.diag(factor)).sum() + deviation @ deviation / 2
        return float(evidence), -weights * np.array(slopes) / 2 + deviation

    found = minimize(
        loss,
        _USUAL if start is None else start,
        jac=True,
        method="L-BFGS-B",
        bounds=[_LOG_WEIGHT_BOUNDS] * _KERNELS + [_LOG_NOISE_BOUNDS],
        options={"maxiter": 30},
    )
    return np.asarray(found.x)
