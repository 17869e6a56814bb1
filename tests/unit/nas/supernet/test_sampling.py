"""Which networks a step trains: the ends of the space, and a fair draw of what is between."""

from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest

from latency.reach import list_space
from nas.supernet.sampling import fair_choices, largest_choices, smallest_choices
from search_spaces import count_costs
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.spaces import Choice, SearchSpace, mnasnet_space, mobilenet_v3_space

MakeSpace = Callable[..., SearchSpace]


def _madds(space: SearchSpace, choices: dict[str, Choice]) -> int:
    return count_costs(space.build(choices)).madds


def test_the_ends_are_those_of_all_networks(small_space: SearchSpace) -> None:
    names, values = small_space.choices.keys(), small_space.choices.values()
    every = [
        _madds(small_space, dict(zip(names, chosen, strict=True))) for chosen in product(*values)
    ]
    assert _madds(small_space, largest_choices(small_space)) == max(every)
    assert _madds(small_space, smallest_choices(small_space)) == min(every)


@pytest.mark.parametrize("make", [mobilenet_v3_space, mnasnet_space])
def test_the_ends_are_the_exact_bounds_of_the_large_spaces(make: MakeSpace) -> None:
    space = make(resolution=32)
    listing = list_space(space)
    costs = listing.costs(
        lambda block, shape, _: count_block_costs(lower_block(block, shape)).madds
    )
    smallest, largest = smallest_choices(space), largest_choices(space)
    assert (_madds(space, smallest), _madds(space, largest)) == listing.bounds(costs)


def test_what_costs_no_madds_stays_as_in_the_base() -> None:
    space = mobilenet_v3_space(resolution=32)
    for choices in (largest_choices(space), smallest_choices(space)):
        for name, value in choices.items():
            assert not name.endswith(".activation") or value == space.base_choices[name]


def test_every_value_of_a_choice_comes_equally_often() -> None:
    space = mobilenet_v3_space(resolution=32)
    drawn = [fair_choices(space, 5, number) for number in range(12)]
    for name, values in space.choices.items():
        for begin in range(0, 12, len(values)):
            deck = [choices[name] for choices in drawn[begin : begin + len(values)]]
            assert Counter(deck) == Counter(values)


def test_choices_are_drawn_independently() -> None:
    space = mobilenet_v3_space(resolution=32)
    drawn = [fair_choices(space, 0, number) for number in range(300)]
    pairs = Counter((c["stage2.kernel"], c["stage3.kernel"]) for c in drawn)
    assert len(pairs) == 9
    assert all(15 <= count <= 55 for count in pairs.values())  # 33 ± 4 standard deviations
    assert len({tuple(choices.values()) for choices in drawn}) == 300


def test_a_network_of_the_sequence_follows_from_seed_and_number(small_space: SearchSpace) -> None:
    first, second, other = (
        [fair_choices(small_space, seed, number) for number in range(20)] for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other
