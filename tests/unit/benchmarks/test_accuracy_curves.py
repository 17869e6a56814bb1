"""Gains and speed-ups on curves made by hand, and intervals against published quantiles."""

import math

import pytest

from benchmarks.accuracy_curves import Bound, Curve, mean_interval

CURVE = Curve.of([(8.0, 0.80), (2.0, 0.60), (4.0, 0.70)])


def test_between_networks_a_curve_is_a_line_over_the_logarithm_of_latency() -> None:
    assert CURVE.accuracy_at(4.0) == pytest.approx(0.70)
    # The geometric middle of 2 and 4 ms is half of the way from 60 % to 70 %.
    assert CURVE.accuracy_at(math.sqrt(8)) == pytest.approx(0.65)


def test_beyond_its_ends_a_curve_has_the_accuracy_of_the_nearest_network() -> None:
    assert CURVE.accuracy_at(1.0) == pytest.approx(0.60)
    assert CURVE.accuracy_at(16.0) == pytest.approx(0.80)


def test_a_speedup_is_of_latencies_at_equal_accuracy() -> None:
    # The curve is at 75 % where it takes √32 ms; a network of 2 ms is √8 times as fast.
    found = CURVE.speedup_of(2.0, 0.75)
    assert found.value == pytest.approx(math.sqrt(8))
    assert found.bound is Bound.EXACT
    assert CURVE.speedup_of(4.0, 0.80).value == pytest.approx(2.0)
    # As fast as itself, everywhere.
    for latency_ms in (2.0, 3.0, 5.0, 8.0):
        own = CURVE.speedup_of(latency_ms, CURVE.accuracy_at(latency_ms))
        assert own.value == pytest.approx(1.0)
        assert own.bound is Bound.EXACT


@pytest.mark.parametrize(
    ("accuracy", "value", "bound", "text"),
    [
        (0.85, 8.0 / 3.0, Bound.AT_LEAST, "≥2.67×"),
        (0.50, 2.0 / 3.0, Bound.AT_MOST, "≤0.67×"),
        (0.60, 2.0 / 3.0, Bound.EXACT, "0.67×"),
    ],
)
def test_what_a_curve_does_not_reach_bounds_the_speedup(
    accuracy: float, value: float, bound: Bound, text: str
) -> None:
    found = CURVE.speedup_of(3.0, accuracy)
    assert found.value == pytest.approx(value)
    assert found.bound is bound
    assert str(found) == text


def test_of_a_curve_that_falls_the_first_network_as_accurate_counts() -> None:
    curve = Curve.of([(1.0, 0.5), (2.0, 0.7), (4.0, 0.6), (8.0, 0.7)])
    assert curve.speedup_of(1.0, 0.7).value == pytest.approx(2.0)


def test_an_interval_is_students() -> None:
    # t(0.975) is 4.303 with two degrees of freedom, in any table; the standard error is 1/√3.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == pytest.approx(2.0)
    assert found.high - found.value == pytest.approx(4.303 / math.sqrt(3), abs=1e-3)
    assert found.value - found.low == pytest.approx(found.high - found.value)


def test_one_value_has_no_interval() -> None:
    found = mean_interval([0.5])
    assert found.value == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.in_points() == "+50.00"
    assert mean_interval([0.01, 0.01]).in_points() == "+1.00 (+1.00 to +1.00)"
