"""Plan files: what is in them, and that a broken-off one leaves nothing."""

import json
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pytest

from latency.context import After
from latency.keys import block_key, boundary_key, network_boundaries, network_key, network_keys
from latency.plan import (
    CALIBRATION,
    CALIBRATION_NETWORKS,
    VALIDATION,
    VALIDATION_NETWORKS,
    MeasureSettings,
    block_entry,
    boundary_entry,
    entry_builders,
    graph_entry,
    network_entry,
    no_progress,
    reference_network,
    steps_of,
    whole_networks,
    write_plan,
)
from latency.profile import Plan
from search_spaces import load_seed
from search_spaces.blocks import ConvNormAct
from search_spaces.lowering import lower_block
from search_spaces.shapes import TensorShape
from search_spaces.spaces import SearchSpace, mobilenet_v3_space

NETWORK = load_seed("mobilenet_v3_small", resolution=64)
BLOCK, SHAPE = ConvNormAct(out_channels=8, kernel=3), TensorShape(4, 6, 6)
EDGE = partial(boundary_entry, SHAPE, After.CONV)


def test_a_plan_holds_blocks_boundaries_networks_and_the_reference(tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "small.plan", list[tuple[int, int]]()
    settings = MeasureSettings(
        threads=2, batch=2, spinning=True, affinity=[0, 3], runs=4, min_rounds=3, max_rounds=4
    )
    roles = {NETWORK: VALIDATION}
    builders = entry_builders(steps_of(roles), roles, settings)
    write_plan(path, list(builders.values()), settings, lambda *step: seen.append(step))
    keys = {*network_keys(NETWORK), *network_boundaries(NETWORK), network_key(NETWORK)}
    with Plan(path) as plan:
        assert [entry["key"] for entry in plan.entries] == list(builders)
        assert set(builders) == keys
        assert (plan.threads, plan.batch, plan.precision) == (2, 2, "fp32")
        assert (plan.spinning, plan.affinity) == (True, [0, 3])
        assert (plan.runs, plan.min_rounds, plan.max_rounds) == (4, 3, 4)
        assert plan.reference["key"] == network_key(reference_network())
        whole = {entry["key"]: entry for entry in plan.entries}[network_key(NETWORK)]
        assert whole["parts"] == list(network_keys(NETWORK))
        assert whole["boundaries"] == list(network_boundaries(NETWORK))
        assert (whole["role"], whole["input_shape"]) == (VALIDATION, [2, 3, 64, 64])
        for entry in [*plan.entries, plan.reference]:
            (image,) = onnx.load_model_from_string(plan.graph(entry)).graph.input
            shape = [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
            assert shape == entry["input_shape"]
    assert seen == [(done, len(keys)) for done in range(1, len(keys) + 1)]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_size < 80_000


def test_a_graph_holds_no_weights_and_the_entry_says_how_many_bytes_they_need() -> None:
    entry = graph_entry("bare", [lower_block(BLOCK, SHAPE)])
    model = onnx.load_model_from_string(entry.graph)
    places = [
        {pair.key: pair.value for pair in tensor.external_data}
        for tensor in model.graph.initializer
    ]
    # 8·4·3·3 weights of 4 bytes are 1152 bytes, 8 biases 32; places start at multiples of 64.
    assert places == [
        {"location": "weights.bin", "offset": "0", "length": "1152"},
        {"location": "weights.bin", "offset": "1152", "length": "32"},
    ]
    assert entry.weights_bytes == 1152 + 64
    assert not any(tensor.raw_data for tensor in model.graph.initializer)
    # Between stubs a 1×1 convolution of 4 to 4 channels comes with it: 64 bytes, and 16 of bias.
    assert block_entry(BLOCK, SHAPE, After.CONV).weights_bytes == 1152 + 64 + 64 + 64


def test_entries_are_named_by_what_they_are_and_where_they_stand() -> None:
    assert block_entry(BLOCK, SHAPE, After.PLAIN).key == block_key(BLOCK, SHAPE, After.PLAIN)
    assert EDGE().key == boundary_key(SHAPE, After.CONV)
    assert EDGE(batch=3).input_shape == (3, 4, 6, 6)
    assert network_entry(NETWORK).role == ""


def test_the_plans_weights_are_as_large_as_the_reference_or_the_largest_entry_needs(
    tmp_path: Path,
) -> None:
    large = network_entry(load_seed("shufflenet_v2_x2_0"))
    sizes = []
    for entry in (EDGE(), large):
        write_plan(tmp_path / "plan", [lambda entry=entry: entry], MeasureSettings(), no_progress)
        sizes.append(_content(tmp_path / "plan")["weights_bytes"])
    # 5.5 M parameters of mobilenet_v3_large, 7.4 M of shufflenet_v2_x2_0
    assert sizes[0] == network_entry(reference_network()).weights_bytes > 4 * 5_400_000
    assert sizes[1] == large.weights_bytes > 4 * 7_300_000


def test_what_a_plan_says_of_an_entry_is_only_what_it_has(tmp_path: Path) -> None:
    entries = [network_entry(NETWORK, trace=True), EDGE()]
    write_plan(
        tmp_path / "plan",
        [lambda entry=entry: entry for entry in entries],
        MeasureSettings(),
        no_progress,
    )
    whole, edge = _content(tmp_path / "plan")["entries"]
    assert whole["trace"] is True
    assert "role" not in whole
    assert not {"trace", "parts", "boundaries", "role", "alone"} & edge.keys()


def test_a_plan_that_broke_off_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    write_plan(path, [EDGE], MeasureSettings(), no_progress)
    before = path.read_bytes()

    def broken(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(path, [EDGE], MeasureSettings(threads=2), broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_plan_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text("measured for hours\n")
    for target in (path, tmp_path, Path("/dev/null")):
        with pytest.raises(ValueError, match="is there already and is no plan"):
            write_plan(target, [EDGE], MeasureSettings(), no_progress)
    assert path.read_text() == "measured for hours\n"


def test_an_empty_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        write_plan(tmp_path / "plan", [], MeasureSettings(), no_progress)


def test_whole_networks_are_the_same_every_time_and_members_of_the_space() -> None:
    space = mobilenet_v3_space(resolution=64, num_classes=10)
    first, second = whole_networks(space), whole_networks(space)
    assert list(first.items()) == list(second.items())
    assert next(iter(first.items())) == (space.build(space.base_choices), CALIBRATION)
    roles = list(first.values())
    assert roles.count(CALIBRATION) == CALIBRATION_NETWORKS
    assert roles.count(VALIDATION) == VALIDATION_NETWORKS
    assert len({network_key(network) for network in first}) == len(roles)
    for network in list(first)[::13]:
        space.encode(network)


def test_whole_networks_of_several_resolutions_are_of_each() -> None:
    space = mobilenet_v3_space(resolution=(64, 96), num_classes=10)
    networks = whole_networks(space)
    assert next(iter(networks)).resolution == 96  # the base network's
    for role in (CALIBRATION, VALIDATION):
        sizes = [network.resolution for network, theirs in networks.items() if theirs == role]
        assert min(sizes.count(64), sizes.count(96)) >= 4
    for network in list(networks)[::13]:
        assert space.encode(network)["resolution"] == network.resolution


def test_a_small_space_has_as_many_whole_networks_as_networks(small_space: SearchSpace) -> None:
    networks = whole_networks(small_space)
    assert len({network_key(network) for network in networks}) == len(networks) == 36
    assert set(networks.values()) == {CALIBRATION, VALIDATION}


def test_every_block_in_its_place_is_listed_once() -> None:
    other = NETWORK.with_num_classes(10)
    steps = steps_of([NETWORK, other])
    assert len(steps) == len(set(steps))
    keys = {block_key(*step) for step in steps}
    assert keys == {*network_keys(NETWORK), *network_keys(other)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads must be an integer in 1..1024, but got 0"),
        ({"threads": True}, "threads must be an integer"),
        ({"batch": 1.0}, "batch must be an integer in 1..1024, but got 1.0"),
        ({"batch": 10**30}, "batch must be an integer"),
        ({"runs": 2}, "runs must be an integer in 3..1000, but got 2"),
        ({"min_rounds": 0}, "min_rounds must be an integer in 1..1000, but got 0"),
        ({"max_rounds": 1001}, "max_rounds must be an integer in 1..1000, but got 1001"),
        ({"min_rounds": 9, "max_rounds": 7}, "but got min_rounds=9 and max_rounds=7"),
        ({"precision": "fp8"}, "precision must be one of fp32, int8, fp16, but got 'fp8'"),
        ({"spinning": 1}, "spinning must be true or false, but got 1"),
        ({"affinity": []}, r"affinity must be null or a list of cores like \[0, 1\], but got \[\]"),
        ({"affinity": "01"}, "affinity must be null or a list of cores"),
        ({"affinity": [-1]}, "a core of affinity must be an integer in 0..1023, but got -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeasureSettings(**settings)


def _content(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("plan.json"))
