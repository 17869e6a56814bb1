"""Which networks of a space a step of the supernet's training sees."""

from collections.abc import Callable

import numpy as np

from search_spaces import count_costs
from search_spaces.spaces import Choice, Choices, SearchSpace


def largest_choices(space: SearchSpace) -> dict[str, Choice]:
    """The network with the most MAdds, as far as changing one choice at a time leads there.

    Choices that do not bear on MAdds are the base's.
    """
    return _climb(space, lambda choices: count_costs(space.build(choices)).madds)


def smallest_choices(space: SearchSpace) -> dict[str, Choice]:
    """The network with the fewest MAdds, found likewise."""
    return _climb(space, lambda choices: -count_costs(space.build(choices)).madds)


def _climb(space: SearchSpace, height: Callable[[Choices], int]) -> dict[str, Choice]:
    best = space.base_choices
    highest, below = height(best), -1
    climbing = True
    while climbing:
        below = highest
        for name, values in space.choices.items():
            for value in values:
                changed = {**best, name: value}
                if value != best[name] and (reached := height(changed)) > highest:
                    best, highest = changed, reached
        climbing = highest > below
    return best


def fair_choices(space: SearchSpace, seed: int, number: int) -> dict[str, Choice]:
    """Network ``number``, from 0, of a random sequence that uses the values of a choice equally.

    Of every choice with n values, networks 0 to n − 1 have each value once, in random order, and so
    the next n (FairNAS' strict fairness, Chu et al., 2021, section 3.2).
    """
    chosen: dict[str, Choice] = {}
    for column, (name, values) in enumerate(space.choices.items()):
        deck, place = divmod(number, len(values))
        order = np.random.default_rng((seed, column, deck)).permutation(len(values))
        chosen[name] = values[order[place]]
    return chosen
