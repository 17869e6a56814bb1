"""The default sampler: what it proposes first, never twice, and how soon it finds the best."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nas.problem import Problem
from nas.samplers import LookupAwareSampler
from nas.samplers import lookup_aware as module
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct
from search_spaces.spaces import Choices, SearchSpace, Stage


def _some_layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    kernels = (values["first"], values["second"])[: int(values["depth"])]
    return tuple(ConvNormAct(out_channels=8, kernel=int(kernel)) for kernel in kernels)


@pytest.fixture
def inert_problem(make_problem: Callable[..., Problem]) -> Problem:
    """Eight combinations, six networks: with one layer, the second's kernel says nothing."""
    options: Any = {"first": (3, 5), "second": (3, 5), "depth": (1, 2)}
    base = {"first": 3, "second": 3, "depth": 1}
    space = SearchSpace(
        name="inert",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=(Stage(name="only", options=options, base=base, layers=_some_layers),),
        head=(ClassifierHead(num_classes=10),),
        resolution=16,
    )
    return make_problem(space)


def test_every_network_is_proposed_once_before_any_a_second_time(
    inert_problem: Problem, make_search: Any
) -> None:
    search, space = make_search(inert_problem, pareto=False), inert_problem.space
    rows = search.run(LookupAwareSampler(problem=inert_problem, seed=0), 6)
    built = {space.build(space.choices_at(row)) for row in rows}
    assert len(built) == 6  # two of them differ in nothing but the order of kernels
    assert len(search.run(LookupAwareSampler(problem=inert_problem, seed=1), 8)) == 8


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "drawn"])
def test_the_best_of_729_networks_is_found_in_25_trials(
    problem: Problem,
    make_search: Any,
    everything: Any,
    listed: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not listed:
        monkeypatch.setattr(module, "_LOOKED_AT_WHOLE", 100)
    search = make_search(problem, pareto=False)
    best = search.rewards_of(everything).max()
    found = [_best_after(make_search(problem, pareto=False), problem, seed) for seed in range(3)]
    assert found == pytest.approx([best] * 3)


def _best_after(search: Any, problem: Problem, seed: int) -> float:
    search.run(LookupAwareSampler(problem=problem, seed=seed), 25)
    return float(search.rewards().max())


def test_networks_that_are_trained_at_the_same_time_differ(
    problem: Problem, make_search: Any
) -> None:
    rows = make_search(problem, pareto=False).run(
        LookupAwareSampler(problem=problem, seed=0), 40, pending=8
    )
    assert len(np.unique(rows, axis=0)) == 40


def test_a_number_out_of_range_is_named(problem: Problem) -> None:
    with pytest.raises(ValueError, match=r"sampler\.fresh must be an integer in 1\.\.100000.* 0"):
        LookupAwareSampler(problem=problem, seed=0, fresh=0)
