"""Many networks at once are predicted as each of them alone, to the last bit."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest

from benchmarks.prediction import scalar_ms, synthetic_table
from latency import predictor
from latency.context import After
from latency.keys import block_key
from latency.predictor import CostTables, SpaceCosts, SpacePredictor
from latency.reach import LARGEST, list_space, reachable_range_ms
from latency.table import LatencyTable, MissingEntryError
from search_spaces import count_costs
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.shapes import TensorShape
from search_spaces.spaces import (
    Choices,
    SearchSpace,
    Stage,
    mnasnet_space,
    mobilenet_v3_space,
    shufflenet_v2_space,
)

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "mobilenet_v3": mobilenet_v3_space,
    "mnasnet": mnasnet_space,
    "shufflenet_v2": shufflenet_v2_space,
}


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    block = ConvNormAct(out_channels=int(values.get("width", 8)), kernel=3)
    return (block,) * int(values.get("depth", 1))


def _space(
    *options: dict[str, tuple[int, ...]], resolutions: tuple[int, ...] = (8,)
) -> SearchSpace:
    return SearchSpace(
        name="tiny",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=tuple(
            Stage(
                name=f"stage{number}",
                options=given,
                base={name: values[0] for name, values in given.items()},
                layers=_layers,
            )
            for number, given in enumerate(options)
        ),
        head=(ClassifierHead(num_classes=10),),
        resolution=max(resolutions),
        resolutions=resolutions,
    )


def _madds(block: Block, shape: TensorShape, after: After) -> int:
    return count_block_costs(lower_block(block, shape)).madds


def _peak(block: Block, shape: TensorShape, after: After) -> int:
    return count_block_costs(lower_block(block, shape)).peak_activation_bytes


@pytest.fixture(
    scope="module",
    params=[(name, sizes) for name in SPACES for sizes in (224, (96, 160, 128))],
    ids=lambda param: f"{param[0]} at {param[1]}",
)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    """Every space, of one resolution and of several."""
    name, resolution = request.param
    return SPACES[name](resolution=resolution)


def test_predictions_are_those_of_the_table(
    space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictor, "CHUNK", 64)  # several chunks, the last one not full
    table = synthetic_table(space)
    several = SpacePredictor(space, table)
    indices = space.sample_indices(500, np.random.default_rng(0))
    predicted = several.predict_ms(indices)
    assert predicted.dtype == np.float64
    assert predicted.tolist() == scalar_ms(space, table, indices)
    assert len(set(predicted)) == 500
    low, high = several.range_ms
    assert several.range_ms == reachable_range_ms(space, table)
    assert low < predicted.min() < predicted.max() < high


def test_costs_are_those_that_are_counted(space: SearchSpace) -> None:
    costs = SpaceCosts(list_space(space))
    indices = space.sample_indices(60, np.random.default_rng(1))
    counted = [count_costs(space.build(space.choices_at(row))) for row in indices]
    for field in ("params", "madds", "peak_activation_bytes"):
        values = getattr(costs, field)(indices)
        assert values.dtype == np.int64
        assert values.tolist() == [getattr(each, field) for each in counted]
        assert len(set(values)) > (50 if field != "peak_activation_bytes" else 3)
        low, high = getattr(costs.bounds, field)
        assert low <= values.min() < values.max() <= high


def test_bounds_of_costs_are_those_of_all_networks() -> None:
    options = {"width": (8, 16, 4), "depth": (2, 0, 3)}
    space = _space(options, options, resolutions=(8, 16))
    costs = SpaceCosts(list_space(space))
    sizes = (range(len(values)) for values in space.choices.values())
    every = np.array(list(product(*sizes)), dtype=np.uint8)
    counted = [count_costs(space.build(space.choices_at(row))) for row in every]
    assert len(counted) == 2 * 9**2
    for field in ("params", "madds", "peak_activation_bytes"):
        figures = [getattr(each, field) for each in counted]
        assert getattr(costs, field)(every).tolist() == figures
        assert min(figures) < max(figures)
        assert getattr(costs.bounds, field) == (min(figures), max(figures))


def test_identities_are_equal_for_equal_networks_alone() -> None:
    def layers(width: int, values: Choices, input_channels: int) -> tuple[Block, ...]:
        kernels = values["first"], values["second"]
        every = [ConvNormAct(out_channels=width, kernel=int(kernel)) for kernel in kernels]
        return tuple(every[: int(values["depth"])])

    options = {"first": (3, 5), "second": (3, 5), "depth": (1, 2)}
    base = {"first": 3, "second": 3, "depth": 1}
    stages = tuple(
        Stage(name=f"stage{width}", options=options, base=base, layers=partial(layers, width))
        for width in (8, 16)
    )
    space = replace(_space(), stages=stages)
    every = np.indices((2,) * 6, dtype=np.uint8).reshape(6, -1).T
    costs = SpaceCosts(list_space(space))
    identities = costs.identities(every)
    blocks = [space.build(space.choices_at(row)).blocks for row in every]
    for one, identity in zip(blocks, identities, strict=True):
        assert (identities == identity).tolist() == [one == other for other in blocks]
    assert len(set(identities)) > len(set(costs.madds(every)))  # kernels 3 and 5, 5 and 3


def test_costs_of_what_are_no_networks_of_the_space_are_refused() -> None:
    space = _space({"width": (8, 16)}, resolutions=(8, 16))
    costs = SpaceCosts(list_space(space))
    assert len(costs.params(np.array([[1, 1]], dtype=np.uint8))) == 1
    with pytest.raises(ValueError, match=r"index of resolution must be in 0\.\.1, .* got 2$"):
        costs.peak_activation_bytes(np.array([[2, 0]], dtype=np.uint8))


@pytest.mark.parametrize(
    "options",
    [
        [],
        [{}],
        [{"width": (8, 16)}, {}, {"depth": (1, 2)}],
        [{"depth": (0, 1)}, {"width": (24,)}],
        [{"depth": (1,), "width": tuple(range(8, 264))}],
        [{"width": tuple(range(8, 264)), "depth": (1, 2)}],
    ],
    ids=["no stages", "no options", "some options", "no layers", "256 variants", "512 variants"],
)
@pytest.mark.parametrize("resolutions", [(8,), (8, 9, 7)])
def test_stages_of_any_number_of_options(
    options: list[dict[str, tuple[int, ...]]], resolutions: tuple[int, ...]
) -> None:
    space = _space(*options, resolutions=resolutions)
    listing = list_space(space)
    indices = space.sample_indices(64, np.random.default_rng(2))
    counted = [count_costs(space.build(space.choices_at(row))) for row in indices]
    sums = CostTables(listing, _madds).totals(indices)
    assert sums.tolist() == [each.madds for each in counted]
    largest = CostTables(listing, _peak, LARGEST).totals(indices)
    assert largest.tolist() == [each.peak_activation_bytes for each in counted]


def test_bounds_are_those_of_some_network() -> None:
    space = _space({"width": (8, 16, 4)}, {"depth": (2, 1, 3)})
    tables = CostTables(list_space(space), _madds)
    every = np.array([(a, b) for a in range(3) for b in range(3)], dtype=np.uint8)
    sums = tables.totals(every)
    assert tables.bounds == (sums.min(), sums.max())


def test_memory_order_does_not_matter_and_no_network_is_no_error() -> None:
    space = _space({"width": (8, 16), "depth": (1, 2)}, {"depth": (1, 2, 3)})
    predict_ms = SpacePredictor(space, synthetic_table(space)).predict_ms
    columns = space.sample_indices(100, np.random.default_rng(3))
    assert columns.flags.f_contiguous
    rows = np.ascontiguousarray(columns)
    assert predict_ms(rows).tolist() == predict_ms(columns).tolist()
    assert predict_ms(columns[::3]).tolist() == predict_ms(columns)[::3].tolist()
    assert predict_ms(columns[:0]).shape == (0,)


def test_what_are_no_networks_of_the_space_is_refused() -> None:
    space = _space({"width": (8, 16), "depth": (1, 2)})
    predict_ms = SpacePredictor(space, synthetic_table(space)).predict_ms
    # Read as a mixed-radix number, (0, 2) would be (1, 0).
    with pytest.raises(ValueError, match=r"index of stage0\.depth must be in 0\.\.1, .* got 2$"):
        predict_ms(np.array([[0, 0], [0, 2]], dtype=np.uint8))
    with pytest.raises(ValueError, match=r"uint8 of shape \(networks, 2\), but got int64"):
        predict_ms(np.array([[0, 0]]))


def test_a_block_that_only_some_network_has_is_missed() -> None:
    space = _space({"width": (8, 16)}, {"depth": (1, 2)})
    table = synthetic_table(space)
    rare = block_key(ConvNormAct(out_channels=8, kernel=3), TensorShape(16, 4, 4), After.CONV)
    entries = [entry for entry in table.entries if entry.key != rare]
    assert len(entries) == len(table) - 1
    with pytest.raises(MissingEntryError, match="synthetic has no entry for"):
        SpacePredictor(space, LatencyTable({}, entries, "synthetic"))
