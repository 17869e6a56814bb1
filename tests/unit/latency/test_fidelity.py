"""Errors by hand, ranks by scipy."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from latency.fidelity import fidelity


def test_errors_are_relative_to_what_was_measured() -> None:
    # +4 %, −8 %, +20 %, 0 %
    found = fidelity([10.4, 9.2, 12.0, 10.0], [10.0, 10.0, 10.0, 10.0])
    assert found.networks == 4
    assert found.mape == pytest.approx(0.08)
    assert found.bias == pytest.approx(0.04)
    assert found.worst == pytest.approx(0.2)
    assert (found.within_5, found.within_10) == (0.5, 0.75)


@pytest.mark.parametrize("ties", [False, True])
def test_the_rank_correlation_is_spearmans(ties: bool) -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(1, 10, 40)
    predicted = measured * rng.uniform(0.7, 1.4, 40)
    if ties:
        measured, predicted = np.ceil(measured), np.ceil(predicted)
    found = fidelity(predicted.tolist(), measured.tolist()).rank_correlation
    assert found == pytest.approx(spearmanr(predicted, measured).statistic)
    assert 0.5 < found < 1


def test_ranks_of_a_hand_computed_example() -> None:
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 − 6 · 4 / (5 · 24) = 0.8.
    found = fidelity([1, 2, 3, 4, 5], [20, 10, 40, 30, 50])
    assert found.rank_correlation == pytest.approx(0.8)


@pytest.mark.parametrize("measured", [[1.0, 2.0], [2.0, 2.0, 2.0]])
def test_what_has_no_ranks_has_no_rank_correlation(measured: list[float]) -> None:
    found = fidelity([1.0, 2.0, 3.0][: len(measured)], measured)
    assert found.rank_correlation is None
    assert "rank correlation –" in str(found)


@pytest.mark.parametrize(("predicted", "measured"), [([], []), ([1.0], [1.0, 2.0])])
def test_what_cannot_be_compared_is_refused(predicted: list[float], measured: list[float]) -> None:
    with pytest.raises(ValueError, match=f"{len(predicted)} predictions cannot be compared with"):
        fidelity(predicted, measured)
