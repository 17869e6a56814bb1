"""Plan files: what is in them, and that a broken-off one leaves nothing."""

import json
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest

from latency.keys import OVERHEAD_KEY, block_key, network_key, network_keys
from latency.plan import (
    REFERENCE_BLOCK,
    REFERENCE_SHAPE,
    MeasureSettings,
    block_entry,
    calibration_networks,
    entry_builders,
    network_entry,
    overhead_entry,
    write_plan,
)
from latency.profile import Plan
from search_spaces import load_seed
from search_spaces.blocks import ConvNormAct
from search_spaces.shapes import TensorShape
from search_spaces.spaces import mobilenet_v3_space

NETWORK = load_seed("mobilenet_v3_small", resolution=64)


def test_a_plan_holds_the_blocks_the_network_the_overhead_and_the_reference(tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "small.plan", list[tuple[int, int]]()
    builders = entry_builders(NETWORK.walk(), [NETWORK], batch=2)
    settings = MeasureSettings(threads=2, batch=2, min_rounds=3, max_rounds=4)
    write_plan(path, list(builders.values()), settings, lambda *step: seen.append(step))
    keys = {OVERHEAD_KEY, *network_keys(NETWORK), network_key(NETWORK)}
    with Plan(path) as plan:
        assert {entry["key"] for entry in plan.entries} == keys
        assert (plan.threads, plan.batch, plan.min_rounds, plan.max_rounds) == (2, 2, 3, 4)
        assert plan.reference["key"] == block_key(REFERENCE_BLOCK, REFERENCE_SHAPE)
        by_key = {entry["key"]: entry for entry in plan.entries}
        assert by_key[network_key(NETWORK)]["parts"] == list(network_keys(NETWORK))
        assert by_key[network_key(NETWORK)]["input_shape"] == [2, 3, 64, 64]
        for entry in [*plan.entries, plan.reference]:
            (image,) = onnx.load_model_from_string(plan.graph(entry)).graph.input
            shape = [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
            assert shape == entry["input_shape"]
    assert seen == [(done, len(keys)) for done in range(1, len(keys) + 1)]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_size < 30_000


def test_a_graph_holds_no_weights_and_the_entry_says_how_many_bytes_they_need() -> None:
    entry = block_entry(ConvNormAct(out_channels=8, kernel=3), TensorShape(4, 6, 6))
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


def test_the_plans_weights_are_as_large_as_the_largest_entry_needs(tmp_path: Path) -> None:
    entries = [network_entry(NETWORK), overhead_entry()]
    write_plan(
        tmp_path / "plan",
        [lambda: entries[0], lambda: entries[1]],
        MeasureSettings(),
        lambda *_: None,
    )
    content = _content(tmp_path / "plan")
    assert content["weights_bytes"] == entries[0].weights_bytes > 4_000_000
    assert entries[1].weights_bytes == 0


def test_a_plan_that_broke_off_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "plan"
    write_plan(path, [overhead_entry], MeasureSettings(), lambda *_: None)
    before = path.read_bytes()

    def broken(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plan(path, [overhead_entry], MeasureSettings(threads=2), broken)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_plan_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    path.write_text("measured for hours\n")
    for target in (path, tmp_path, Path("/dev/null")):
        with pytest.raises(ValueError, match="is there already and is no plan"):
            write_plan(target, [overhead_entry], MeasureSettings(), lambda *_: None)
    assert path.read_text() == "measured for hours\n"


def test_an_empty_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one entry"):
        write_plan(tmp_path / "plan", [], MeasureSettings(), lambda *_: None)


def test_calibration_networks_are_the_same_every_time_and_members_of_the_space() -> None:
    space = mobilenet_v3_space(resolution=64, num_classes=10)
    first, second = calibration_networks(space), calibration_networks(space)
    assert first == second
    assert first[0] == space.build(space.base_choices)
    assert len({network_key(network) for network in first}) == 8
    for network in first:
        space.encode(network)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads must be an integer in 1..1024, but got 0"),
        ({"threads": True}, "threads must be an integer"),
        ({"batch": 1.0}, "batch must be an integer in 1..1024, but got 1.0"),
        ({"batch": 10**30}, "batch must be an integer"),
        ({"min_rounds": 1}, "min_rounds must be an integer in 2..1000, but got 1"),
        ({"max_rounds": 1001}, "max_rounds must be an integer in 2..1000, but got 1001"),
        ({"min_rounds": 9}, "but got min_rounds=9 and max_rounds=7"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MeasureSettings(**settings)


def _content(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("plan.json"))
