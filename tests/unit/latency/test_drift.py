"""A machine whose speed is known at every moment: how much of it is taken out again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from latency.drift import ENTRIES_A_BIN, corrected

Floats = NDArray[np.float64]
ENTRIES, VISITS = 300, 6


class Machine:
    """Visits of entries of 0.05 to 20 ms on a machine that slows down and recovers.

    An entry feels the drift to the power ``share``, which may depend on its latency. The reference
    feels it whole, and takes longer beside what takes longer.
    """

    def __init__(self, share: Floats | float, noise: float = 0.003, drift: float = 0.3) -> None:
        rng = np.random.default_rng(1)
        self.true_ms = np.geomspace(0.05, 20, ENTRIES)
        self.share = np.broadcast_to(share, ENTRIES)
        self.slowness = np.exp(rng.normal(0, drift, (ENTRIES, VISITS)))
        noises = np.exp(rng.normal(0, noise, (2, ENTRIES, VISITS)))
        self.latencies = self.true_ms[:, None] * self.slowness ** self.share[:, None] * noises[0]
        beside = 2.0 * (1 + 0.3 * self.true_ms / (1 + self.true_ms))
        self.references = beside[:, None] * self.slowness * noises[1]

    def corrected(self, entries: int = ENTRIES) -> list[Floats]:
        return corrected(
            self.latencies[:entries].tolist(),
            self.references[:entries].tolist(),
            is_block=[True] * entries,
        )


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0, 1.2])
def test_drift_is_taken_out_to_the_share_that_entries_feel(share: float) -> None:
    machine = Machine(share)
    found = np.array(machine.corrected())
    assert np.median(np.std(np.log(found), axis=1)) < 0.012
    errors = np.median(found, axis=1) / machine.true_ms - 1
    assert abs(np.median(errors)) < 0.02
    assert np.percentile(np.abs(errors), 90) < 0.06
    if share:
        assert np.median(np.std(np.log(machine.latencies), axis=1)) > 0.2 * share


def test_small_and_large_graphs_have_shares_of_their_own() -> None:
    machine = Machine(np.linspace(1.2, 0.4, ENTRIES))
    found = np.array(machine.corrected())
    assert np.median(np.std(np.log(found), axis=1)) < 0.02


def test_a_machine_that_changes_its_speed_for_good_has_its_usual_one() -> None:
    machine = Machine(share=1.0, noise=0.0, drift=0.0)
    slower = np.where(np.arange(VISITS) < VISITS // 3, 1.0, 1.5)
    machine.latencies *= slower
    machine.references *= slower
    found = np.array(machine.corrected())
    # Two thirds of the visits are of the slower machine: that is its median speed.
    np.testing.assert_allclose(np.median(found, axis=1), 1.5 * machine.true_ms, rtol=0.01)


def test_the_references_own_latency_does_not_matter() -> None:
    machine = Machine(share=0.5)
    usual = np.array(machine.corrected())
    machine.references *= 7.0
    np.testing.assert_allclose(np.array(machine.corrected()), usual)


def test_a_few_entries_say_nothing_of_drift() -> None:
    few = ENTRIES_A_BIN - 1
    machine = Machine(share=1.0)
    np.testing.assert_allclose(np.array(machine.corrected(few)), machine.latencies[:few])


def test_entries_that_were_visited_once_say_nothing_of_the_share() -> None:
    latencies = [[1.0 + index] for index in range(100)]
    found = corrected(latencies, [[2.0]] * 100, is_block=[True] * 100)
    np.testing.assert_allclose(np.array(found), latencies)


def test_whole_networks_have_a_level_of_their_own() -> None:
    machine = Machine(share=1.0)
    networks = np.arange(ENTRIES) % 2 == 0
    machine.references[networks] *= 1.5
    found = corrected(
        machine.latencies.tolist(), machine.references.tolist(), is_block=(~networks).tolist()
    )
    errors = np.median(found, axis=1) / machine.true_ms - 1
    assert np.percentile(np.abs(errors), 90) < 0.08
