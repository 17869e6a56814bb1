"""The winner: the best by reward that measures within the target."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from latency.keys import network_key
from latency.plan import MeasureSettings
from latency.table import Entry
from nas.reward import PowerReward
from nas.study import Candidate
from nas.winner import Finalist, NetworkClock, choose_winner
from search_spaces import Architecture
from search_spaces.blocks import InvertedResidual
from search_spaces.spaces import SearchSpace

TARGET_MS = 10.0
BY_ACCURACY = PowerReward(alpha=0, beta=0)


class Clock:
    """Says what it was told to say of each network, by the kernels of its two stages."""

    def __init__(self, latencies_ms: Mapping[tuple[int, ...], float]) -> None:
        self.seen: list[str] = []
        self.announced: list[str] = []
        self._latencies_ms = latencies_ms

    def announce(self, architectures: Sequence[Architecture]) -> None:
        self.announced += [architecture.name for architecture in architectures]

    def __call__(self, architecture: Architecture) -> Entry:
        self.seen.append(architecture.name)
        kernels = tuple(b.kernel for b in architecture.blocks if isinstance(b, InvertedResidual))
        latency_ms = self._latencies_ms[kernels]
        return Entry(
            key=architecture.name,
            latency_ms=latency_ms,
            median_ms=latency_ms,
            interval=0.01,
            rounds=20,
            runs=240,
            drift=1.0,
            reference_ms=1.0,
        )


def _candidate(
    space: SearchSpace, number: int, kernels: tuple[int, int], reward: float, latency_ms: float
) -> Candidate:
    return Candidate(
        number=number,
        choices=space.base_choices | {"first.kernel": kernels[0], "second.kernel": kernels[1]},
        reward=reward,
        accuracy=reward,
        latency_ms=latency_ms,
        madds=1,
        params=1,
        peak_activation_bytes=1,
        network=str(kernels),
    )


@pytest.fixture
def found(small_space: SearchSpace) -> list[Candidate]:
    """By reward 3, 0, 1, 2; trial 3 is predicted to miss the target."""
    return [
        _candidate(small_space, 0, (3, 5), reward=0.7, latency_ms=9.0),
        _candidate(small_space, 1, (5, 3), reward=0.6, latency_ms=10.0),
        _candidate(small_space, 2, (3, 3), reward=0.5, latency_ms=6.0),
        _candidate(small_space, 3, (5, 5), reward=0.9, latency_ms=10.1),
    ]


def _choose(
    found: list[Candidate], space: SearchSpace, clock: Clock | NetworkClock, most: int = 5
) -> tuple[Finalist, list[Finalist]]:
    return choose_winner(found, space, TARGET_MS, BY_ACCURACY, most, clock, lambda *_: None)  # type: ignore[arg-type]


def test_the_best_that_is_predicted_to_meet_the_target_wins_if_it_measures_so(
    found: list[Candidate], small_space: SearchSpace
) -> None:
    clock = Clock({(3, 5): 10.0})
    winner, measured = _choose(found, small_space, clock)
    assert clock.seen == ["small_0"]
    assert measured == [winner]
    assert winner.candidate is found[0]
    assert winner.architecture == small_space.build(found[0].choices, name="small_0")
    assert winner.measured.latency_ms == 10.0


def test_the_next_is_measured_where_the_best_misses_the_target(
    found: list[Candidate], small_space: SearchSpace
) -> None:
    clock = Clock({(3, 5): 10.001, (5, 3): 12.0, (3, 3): 9.9})
    winner, measured = _choose(found, small_space, clock)
    assert clock.seen == ["small_0", "small_1", "small_2"]
    assert winner.candidate.number == 2
    assert [finalist.candidate.number for finalist in measured] == [0, 1, 2]


def test_what_is_predicted_to_miss_comes_last_and_may_still_win(
    found: list[Candidate], small_space: SearchSpace
) -> None:
    clock = Clock({(3, 5): 11.0, (5, 3): 12.0, (3, 3): 10.5, (5, 5): 9.0})
    winner, _ = _choose(found, small_space, clock)
    assert clock.seen == ["small_0", "small_1", "small_2", "small_3"]
    assert winner.candidate.number == 3


@pytest.mark.parametrize(("most", "nearest"), [(1, 0), (2, 0), (3, 2), (5, 2)])
def test_where_all_miss_the_nearest_of_those_measured_wins(
    found: list[Candidate], small_space: SearchSpace, most: int, nearest: int
) -> None:
    clock = Clock({(3, 5): 11.0, (5, 3): 12.0, (3, 3): 10.5, (5, 5): 13.0})
    winner, measured = _choose(found, small_space, clock, most)
    assert winner.candidate.number == nearest
    assert len(measured) == len(clock.seen) == min(most, 4)


def test_equal_networks_are_measured_once_and_count_once(
    found: list[Candidate], small_space: SearchSpace
) -> None:
    twin = _candidate(small_space, 4, (3, 5), reward=0.7, latency_ms=9.0)
    clock = Clock({(3, 5): 11.0, (5, 3): 9.0})
    winner, _ = _choose([*found, twin], small_space, clock, most=2)
    assert clock.announced == clock.seen == ["small_0", "small_1"]
    assert winner.candidate.number == 1


@pytest.mark.parametrize(("is_live", "plans"), [(True, [1, 1]), (False, [3, 0, 0])])
def test_a_device_that_is_not_live_is_asked_for_all_at_once(
    found: list[Candidate],
    small_space: SearchSpace,
    make_device: Callable[..., Any],
    tmp_path: Path,
    is_live: bool,
    plans: list[int],
) -> None:
    networks = [small_space.build(candidate.choices) for candidate in found]
    costs_ms = dict(zip(map(network_key, networks), [11.0, 9.0, 12.0, 13.0], strict=True))
    device = make_device(lambda entry: costs_ms[entry["key"]])
    device.is_live = is_live
    clock = NetworkClock(device=device, folder=tmp_path, settings=MeasureSettings())
    winner, measured = _choose(found, small_space, clock, most=3)
    assert [len(keys) for keys in device.asked] == plans
    assert winner.candidate.number == 1
    assert [finalist.candidate.number for finalist in measured] == [0, 1]


def test_progress_says_how_many_were_measured(
    found: list[Candidate], small_space: SearchSpace
) -> None:
    said: list[tuple[int, int]] = []
    clock = Clock({(3, 5): 11.0, (5, 3): 9.0})
    choose_winner(
        found,
        small_space,
        TARGET_MS,
        BY_ACCURACY,
        5,
        clock,
        lambda *update: said.append(update),  # type: ignore[arg-type]
    )
    assert said == [(0, 5), (1, 5)]
