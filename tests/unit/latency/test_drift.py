"""A machine whose speed is known at every moment: how much of it is taken out again."""

import numpy as np
import pytest
from numpy.typing import NDArray

from latency.drift import corrected

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
ENTRIES, VISITS, SECONDS = 40, 6, 240.0
ALL = np.ones(ENTRIES, dtype=bool)


class Machine:
    """Visits of entries of 0.5 to 5 ms, at random times, on a machine that slows down and recovers.

    An entry feels the drift to the power ``share``, the reference feels it whole.
    """

    def __init__(self, share: float, noise: float = 0.003, drift: float = 0.3) -> None:
        rng = np.random.default_rng(1)
        self.true_ms = np.geomspace(0.5, 5, ENTRIES)
        self.times = np.sort(rng.uniform(0, SECONDS, (ENTRIES, VISITS)), axis=1)
        self.slowness = np.exp(drift * np.sin(2 * np.pi * 3 * self.times / SECONDS))
        self.share = share
        self.latencies = self.true_ms[:, None] * self.slowness**share * self._noise(rng, noise)
        self.references = 3.0 * self.slowness * self._noise(rng, noise)

    @staticmethod
    def _noise(rng: np.random.Generator, noise: float) -> Floats:
        return np.exp(rng.normal(0, noise, (ENTRIES, VISITS)))

    def corrected(self, is_block: Flags | None = None) -> Floats:
        found = corrected(
            self.latencies.tolist(),
            self.times.tolist(),
            self.references.tolist(),
            is_block=(ALL if is_block is None else is_block).tolist(),
        )
        return np.array(found)

    def errors(self, visits: Floats, blocks: Flags) -> Floats:
        """Of each entry, against its latency at the median speed that the blocks saw."""
        true_ms = self.true_ms * np.median(self.slowness[blocks]) ** self.share
        return np.abs(np.median(visits, axis=1) / true_ms - 1)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_drift_is_taken_out_to_the_share_that_blocks_feel(share: float) -> None:
    machine = Machine(share)
    found = machine.corrected()
    # The visits of an entry agree to within noise, and so does their median with the truth.
    spread = np.std(np.log(found), axis=1)
    assert np.median(spread) < 0.01
    assert np.median(machine.errors(found, ALL)) < 0.006
    if share:
        assert np.median(np.std(np.log(machine.latencies), axis=1)) > 0.05 * share / 0.3


def test_what_does_not_feel_the_drift_is_left_as_it_is() -> None:
    machine = Machine(share=0.0)
    np.testing.assert_array_equal(machine.corrected(), machine.latencies)


def test_whole_networks_are_corrected_by_what_blocks_say_of_the_machine() -> None:
    machine = Machine(share=1.0)
    networks = np.arange(ENTRIES) % 4 == 0
    # Beside a network the reference takes another time, which says nothing of the machine.
    machine.references[networks] = 9.0
    errors = machine.errors(machine.corrected(~networks), ~networks)
    assert np.median(errors[networks]) < 0.006
    assert np.median(errors[~networks]) < 0.006


def test_the_usual_speed_is_that_of_the_references_median() -> None:
    machine = Machine(share=1.0, noise=0.0)
    usual = machine.corrected()
    machine.references *= 7.0
    np.testing.assert_allclose(machine.corrected(), usual)


@pytest.mark.parametrize("seconds", [0.0, 7.9])
def test_a_few_seconds_say_nothing_of_drift(seconds: float) -> None:
    machine = Machine(share=1.0)
    machine.times *= seconds / SECONDS
    np.testing.assert_array_equal(machine.corrected(), machine.latencies)


def test_where_there_are_only_networks_nothing_is_corrected() -> None:
    machine = Machine(share=1.0)
    np.testing.assert_array_equal(machine.corrected(~ALL), machine.latencies)


def test_entries_that_were_visited_once_say_nothing_of_the_share() -> None:
    times = [[float(second)] for second in range(0, 40, 2)]
    latencies = [[1.0 + second] for (second,) in times]
    found = corrected(latencies, times, latencies, is_block=[True] * len(times))
    assert [visits.tolist() for visits in found] == latencies
