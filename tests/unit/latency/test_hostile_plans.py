"""Plans come from elsewhere: whatever is in one, there is one clear line and no harm."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from latency.plan import network_entry
from latency.profile import Plan, ProfileError, check_graph, main
from search_spaces import load_seed, seed_names

MakePlan = Callable[..., Path]
ENTRY = {"key": "a", "graph": "graphs/0.onnx", "input_shape": [1, 1, 1, 1]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "other"}, "of another format or version"),
        ({"version": 1}, "of another format or version"),
        ({"threads": 0}, "threads must be an integer in 1..1024, but is 0"),
        ({"threads": True}, "threads must be an integer"),
        ({"batch": 10**400}, "batch must be an integer in 1..1024"),
        ({"batch": None}, "batch must be an integer in 1..1024, but is None"),
        ({"spinning": 1}, r"spinning must be one of \(False, True\), but is 1"),
        ({"spinning": "no"}, "spinning must be one of"),
        ({"affinity": []}, r"affinity must be a list of cores, but is \[\]"),
        ({"affinity": 0}, "affinity must be a list of cores, but is 0"),
        ({"affinity": [-1]}, r"affinity must be a list of cores, but is \[-1\]"),
        ({"affinity": [1024]}, "affinity must be a list of cores"),
        ({"affinity": [True]}, "affinity must be a list of cores"),
        (
            {"precision": "fp64"},
            r"precision must be one of \('fp32', 'int8', 'fp16'\), but is 'fp6",
        ),
        ({"precision": ["fp32"]}, "precision must be one of"),
        ({"runs": 2}, "runs must be an integer in 3..1000, but is 2"),
        ({"runs": 10**9}, "runs must be an integer in 3..1000"),
        ({"min_rounds": 0}, "min_rounds must be an integer in 1..1000, but is 0"),
        ({"max_rounds": 10**6}, "max_rounds must be an integer in 2..1000"),
        ({"min_rounds": 9, "max_rounds": 8}, "max_rounds must be an integer in 9..1000"),
        ({"weights_bytes": 1 << 40}, "weights_bytes must be an integer in 0..1073741824"),
        ({"weights_bytes": float("nan")}, "NaN is no number"),
        ({"entries": []}, "entries must be a list"),
        ({"entries": {"key": "a"}}, "entries must be a list"),
        ({"entries": ["a"]}, "an entry must be an object, but is 'a'"),
        ({"entries": [ENTRY, ENTRY]}, "two of its entries have the same key"),
        ({"entries": [ENTRY | {"key": ""}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"graph": 1}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"parts": "ab"}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"parts": [[]]}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"boundaries": 1}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"role": None}]}, "parts and boundaries must be names"),
        ({"entries": [ENTRY | {"role": "validation"}]}, "'a' has 0 parts and 0 boundaries"),
        ({"entries": [ENTRY | {"parts": ["b", "c"]}]}, "'a' has 2 parts and 0 boundaries"),
        ({"entries": [ENTRY | {"boundaries": ["b"]}]}, "'a' has 0 parts and 1 boundaries"),
        ({"entries": [ENTRY | {"weights_bytes": -1}]}, "weights_bytes must be an integer in 0.."),
        ({"entries": [ENTRY | {"trace": 1}]}, "trace must be one of"),
        ({"entries": [ENTRY | {"alone": "yes"}]}, "alone must be one of"),
        ({"entries": [ENTRY | {"input_shape": []}]}, "input_shape must be 1..8 positive integers"),
        ({"entries": [ENTRY | {"input_shape": "11"}]}, "input_shape must be"),
        ({"entries": [ENTRY | {"input_shape": [True]}]}, "input_shape must be"),
        ({"entries": [ENTRY | {"input_shape": [10**400]}]}, "input_shape must be"),
        ({"entries": [ENTRY | {"input_shape": [1 << 20, 1 << 20]}]}, "of a product up to"),
        ({"reference": None}, "an entry must be an object, but is None"),
    ],
)
def test_fields_out_of_range_are_refused(
    bent_plan: MakePlan, fields: dict[str, Any], message: str
) -> None:
    path = bent_plan(**fields)
    with pytest.raises(ProfileError, match=message) as caught:
        Plan(path)
    assert str(caught.value).startswith(f"{path} is no valid plan: ")
    assert str(caught.value).isprintable()


def test_unknown_fields_are_ignored(bent_plan: MakePlan) -> None:
    with Plan(bent_plan(entries=[ENTRY | {"note": "?"}], comment="?")) as plan:
        assert [entry["key"] for entry in plan.entries] == ["a"]


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_a_plan_whose_description_is_no_json_object_is_refused(
    bent_plan: MakePlan, content: bytes
) -> None:
    with pytest.raises(ProfileError, match="is no valid plan"):
        Plan(bent_plan({"plan.json": content}))


def test_a_member_is_read_up_to_the_limit_whatever_it_says_of_its_size(
    bent_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency.profile.MAX_GRAPH_BYTES", 100_000)
    path = bent_plan({"graphs/0.onnx": bytes(1_000_000)})
    assert path.stat().st_size < 10_000
    with Plan(path) as plan, pytest.raises(ProfileError, match="is larger than 100000 bytes"):
        plan.graph(plan.entries[0])
    _claim_size(path, "graphs/0.onnx", 10)
    with Plan(path) as plan, pytest.raises(ProfileError, match=r"cannot read 'graphs/0.onnx'"):
        plan.graph(plan.entries[0])


def test_a_description_that_unpacks_to_gigabytes_is_refused_within_little_memory(
    bent_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latency.profile.MAX_DESCRIPTION_BYTES", 1 << 20)
    path = bent_plan({"plan.json": b"[" + b"[]," * (20 << 20) + b"[]]"})
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with pytest.raises(ProfileError, match=r"'plan\.json' is larger than 1048576 bytes"):
            Plan(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_unpack_without_a_limit_are_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "plan", "w", method) as archive:
        archive.writestr("plan.json", "{}")
    with pytest.raises(ProfileError, match="not compressed by deflate"):
        Plan(tmp_path / "plan")


def test_a_member_with_a_climbing_name_is_read_and_never_unpacked(
    bent_plan: MakePlan, small_plan: Path, tmp_path: Path
) -> None:
    name = "../../climbed.onnx"
    with zipfile.ZipFile(small_plan) as archive:
        graph = archive.read("graphs/0.onnx")
    entry = ENTRY | {"graph": name, "input_shape": [1, 4, 8, 8]}
    path = bent_plan({name: graph}, entries=[entry])
    assert main([str(path), "--out", str(tmp_path / "table"), "--quiet"]) == 0
    assert not list(tmp_path.parent.parent.rglob("climbed.onnx"))


def test_a_member_that_is_not_there_is_named(bent_plan: MakePlan) -> None:
    with (
        Plan(bent_plan(entries=[ENTRY | {"graph": "gone"}])) as plan,
        pytest.raises(ProfileError, match=r"bent\.plan is no valid plan: cannot read 'gone'"),
    ):
        plan.graph(plan.entries[0])


def test_our_own_graphs_pass() -> None:
    for name in seed_names():
        check_graph(network_entry(load_seed(name, resolution=64)).graph)


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../weights.bin", "weights.bin/../../x", "*/_ORT_MEM_ADDR_/*", ""]
)
def test_a_graph_that_reads_another_file_is_refused(location: str) -> None:
    with pytest.raises(ProfileError, match=r"not weights\.bin"):
        check_graph(_model(initializer=[_external(("location", location))]).SerializeToString())


@pytest.mark.parametrize(
    "pairs",
    [
        [("location", "weights.bin"), ("location", "/etc/passwd")],
        [("location", "/etc/passwd"), ("location", "weights.bin")],
    ],
)
def test_every_one_of_several_locations_is_looked_at(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(ProfileError, match=r"not weights\.bin"):
        check_graph(_model(initializer=[_external(*pairs)]).SerializeToString())


def test_a_location_is_found_however_it_is_encoded() -> None:
    # In a protocol buffer the last of several values counts, and a number may have empty bytes.
    location, ours, theirs = b"\x0a\x88\x00location", b"\x12\x0bweights.bin", b"\x12\x04/etc"
    for pair in (theirs + location, location + ours + theirs, b"\x0a\x01x" + location + ours):
        tensor = b"\x6a" + bytes([len(pair)]) + pair
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        with pytest.raises(ProfileError, match=r"not weights\.bin"):
            check_graph(b"\x3a" + bytes([len(graph)]) + graph)


def test_subgraphs_functions_and_attributes_with_tensors_are_refused() -> None:
    tensor = _external(("location", "/etc/passwd"))
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    branch = helper.make_graph([], "branch", [], [], initializer=[tensor])
    loop = helper.make_node("Loop", ["n", "c"], ["y"], body=branch)
    function = _model()
    function.functions.add(name="f", domain="d")
    sparse = _model()
    sparse.graph.sparse_initializer.add(dims=[1])
    for model in (_model(nodes=[constant]), _model(nodes=[loop]), function, sparse):
        with pytest.raises(ProfileError, match="which no plan of ours does"):
            check_graph(model.SerializeToString())


@pytest.mark.parametrize("content", [b"\x3a\x05abc", b"\xff" * 20, b"\x0b", b"\x3a\xff", b"hello"])
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    with pytest.raises(ProfileError, match="no ONNX"):
        check_graph(content)


def test_a_graph_that_does_not_run_is_named_in_one_line(
    bent_plan: MakePlan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = onnx.ModelProto(ir_version=9).SerializeToString()
    path = bent_plan({"graphs/1.onnx": empty})
    assert main([str(path), "--out", str(tmp_path / "table"), "--quiet"]) == 2
    error = capfd.readouterr().err
    assert error.startswith("profile.py: error: cannot run 'ConvNormAct(out_channels=8")
    assert error.count("\n") == 1


def _external(*pairs: tuple[str, str]) -> TensorProto:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in pairs:
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(
    nodes: list[onnx.NodeProto] | None = None, initializer: list[TensorProto] | None = None
) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(nodes or [], "g", [], [], initializer=initializer))


def _claim_size(path: Path, name: str, size: int) -> None:
    """Let the archive's directory say that a member has ``size`` bytes."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name.encode()))
    data[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(bytes(data))
