"""Two numbers between blocks and networks, recovered where they are known."""

import numpy as np
import pytest

from latency.correction import MIN_NETWORKS, Correction, fit_correction


def _networks(count: int, scale: float, ms_per_mb: float) -> tuple[list[tuple[float, float]], ...]:
    rng = np.random.default_rng(0)
    sums = [(float(ms), float(mb)) for ms, mb in rng.uniform((2, 4), (20, 30), (count, 2))]
    measured = [scale * ms + ms_per_mb * mb for ms, mb in sums]
    return sums, measured  # type: ignore[return-value]


@pytest.mark.parametrize(("scale", "ms_per_mb"), [(1.0, 0.0), (0.93, 0.04), (1.2, 0.0)])
def test_scale_and_cold_weights_are_recovered(scale: float, ms_per_mb: float) -> None:
    sums, measured = _networks(12, scale, ms_per_mb)
    found = fit_correction(sums, measured)
    assert found.scale == pytest.approx(scale, abs=1e-6)
    assert found.ms_per_mb == pytest.approx(ms_per_mb, abs=1e-6)
    for added, latency_ms in zip(sums, measured, strict=True):
        assert found.apply(added) == pytest.approx(latency_ms)


def test_one_disturbed_network_changes_little() -> None:
    sums, measured = _networks(12, 1.05, 0.03)
    measured[3] *= 1.5
    found = fit_correction(sums, measured)
    assert found.scale == pytest.approx(1.05, rel=0.02)
    assert found.ms_per_mb == pytest.approx(0.03, rel=0.2)


def test_for_few_networks_the_scale_alone_is_their_median() -> None:
    sums = [(2.0, 1.0), (4.0, 50.0), (10.0, 3.0)]
    assert fit_correction(sums, [2.4, 4.4, 13.0]) == Correction(scale=1.2)
    assert len(sums) < MIN_NETWORKS


def test_weights_never_make_a_network_faster() -> None:
    sums, measured = _networks(12, 1.0, -0.02)
    assert fit_correction(sums, measured).ms_per_mb == 0.0


def test_without_networks_nothing_is_corrected() -> None:
    assert fit_correction([], []).apply((3.5, 20.0)) == 3.5
