"""Filling tables: what is missing is measured, and nothing else, and only in the right table."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency.context import After, walk_in_context
from latency.keys import block_key, network_boundaries, network_key, network_keys
from latency.measure import ensure_table, measure_entries
from latency.plan import (
    CALIBRATION,
    MeasureSettings,
    boundary_entry,
    network_entry,
    no_progress,
    steps_of,
)
from latency.table import LatencyTable, TableError, read_visits
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct
from search_spaces.shapes import TensorShape

MakeDevice = Callable[..., Any]

CONV = ConvNormAct(out_channels=8, kernel=3)
NETWORK = Architecture(name="two", blocks=(CONV, ClassifierHead(num_classes=10)), resolution=8)
WHOLE = network_key(NETWORK)
HEAD = network_keys(NETWORK)[-1]
KEYS = {*network_keys(NETWORK), *network_boundaries(NETWORK), network_key(NETWORK)}


def _ensure(device: Any, path: Path, **options: Any) -> LatencyTable:
    warn = options.pop("warn", None)
    settings = MeasureSettings(**options)
    roles = {NETWORK: CALIBRATION}
    return ensure_table(device, path, steps_of(roles), roles, settings, no_progress, warn)


def _forget_head(path: Path) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if f'"key": "{HEAD}"' not in line))


def _planned(device: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The entries of the plans that the device is given from now on; it measures nothing."""
    plans: list[dict[str, Any]] = []

    def measure(plan: Path, *_: object) -> None:
        with zipfile.ZipFile(plan) as archive:
            plans.extend(json.loads(archive.read("plan.json"))["entries"])

    monkeypatch.setattr(device, "measure", measure)
    return plans


def test_only_what_the_table_lacks_is_measured(tmp_path: Path, make_device: MakeDevice) -> None:
    device, path = make_device(), tmp_path / "new" / "table.jsonl"
    table = _ensure(device, path)
    assert device.asked == [KEYS]
    assert len(table) == 4
    # 1 ms of the first block, 1 − 0.25 of the head; the network takes 2.
    assert table.scale == pytest.approx(2 / 1.75)
    assert len(_ensure(device, path)) == 4
    assert len(device.asked) == 1
    _forget_head(path)
    assert len(_ensure(device, path)) == 4
    assert device.asked[1:] == [{HEAD}]


def test_what_the_table_holds_keeps_what_it_lacks_company(
    tmp_path: Path, make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, path = make_device(), tmp_path / "table.jsonl"
    _ensure(device, path)
    _forget_head(path)
    plans = _planned(device, monkeypatch)
    _ensure(device, path)
    company = {entry["key"] for entry in plans if entry.get("company")}
    assert company == KEYS - {HEAD, network_key(NETWORK)}
    assert {entry["key"] for entry in plans} == KEYS


def test_company_is_what_was_named_as_far_as_the_table_holds_it(
    tmp_path: Path, make_device: MakeDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, path = make_device(), tmp_path / "table.jsonl"
    _ensure(device, path)
    _forget_head(path)
    plans, own = _planned(device, monkeypatch), walk_in_context(NETWORK)
    company = [own[0], (CONV, TensorShape(3, 64, 64), After.IMAGE)]
    ensure_table(device, path, own[1:], {}, MeasureSettings(), no_progress, company=company)
    beside = {entry["key"] for entry in plans if entry.get("company")}
    assert beside == {block_key(*own[0])}
    assert {entry["key"] for entry in plans} == {*beside, HEAD, *network_boundaries(NETWORK)}


def test_more_rounds_refine_a_table_that_is_there(tmp_path: Path, make_device: MakeDevice) -> None:
    device, path = make_device(), tmp_path / "table.jsonl"
    _ensure(device, path, min_rounds=2)
    table = _ensure(device, path, min_rounds=4)
    assert {e.key: e.rounds for e in table.entries} == dict.fromkeys(KEYS, 4) | {WHOLE: 8}
    assert _ensure(device, path, min_rounds=3).entries == table.entries
    assert device.asked == [KEYS, KEYS]
    assert len(read_visits(path)[1]) == 20


@pytest.mark.parametrize("torn", [b"", b'{"format": "chronas-late'])
def test_a_torn_header_is_measured_over(
    tmp_path: Path, make_device: MakeDevice, torn: bytes
) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(torn)
    assert len(_ensure(make_device(), path)) == 4


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ({"runtime": "other"}, {}, "runtime is 'other' there and 'onnxruntime' here"),
        ({"device": {"cpu": "old"}}, {}, "device is {'cpu': 'old'} there and"),
        ({"reference": "another"}, {}, r"reference is 'another' there and 'Network\("),
        ({}, {"threads": 2}, "threads is 1 there and 2 here"),
        ({}, {"batch": 8}, "batch is 1 there and 8 here"),
        ({}, {"precision": "int8"}, "precision is 'fp32' there and 'int8' here"),
        ({}, {"spinning": True}, "spinning is False there and True here"),
        ({}, {"affinity": (0,)}, r"affinity is None there and \[0\] here"),
    ],
)
def test_a_whole_table_of_other_circumstances_is_refused_all_the_same(
    tmp_path: Path,
    make_device: MakeDevice,
    header: dict[str, Any],
    settings: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "table.jsonl"
    _ensure(make_device(), path)
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(first) | header) + "\n", *rest]))
    with pytest.raises(TableError, match=message):
        _ensure(make_device(), path, **settings)


@pytest.mark.parametrize(
    ("slowness", "said"),
    [
        (1.14, []),
        (0.86, []),
        (1.3, ["this machine is now 30% slower than in"]),
        (0.7, ["this machine is now 30% faster than in"]),
    ],
)
def test_a_machine_that_is_no_longer_as_fast_as_its_table_is_told_of(
    tmp_path: Path, make_device: MakeDevice, slowness: float, said: list[str]
) -> None:
    path, warnings = tmp_path / "table.jsonl", list[str]()
    _ensure(make_device(), path, warn=warnings.append)
    assert warnings == []  # it has only just been measured
    held = path.read_bytes()
    _ensure(make_device(slowness=slowness), path, warn=warnings.append)
    assert [warning[: len(text)] for warning, text in zip(warnings, said, strict=True)] == said
    assert path.read_bytes() == held


def test_a_device_that_is_not_live_is_not_asked_how_fast_it_is_now(
    tmp_path: Path, make_device: MakeDevice
) -> None:
    device, path = make_device(), tmp_path / "table.jsonl"
    _ensure(device, path)
    device.is_live = False
    assert len(_ensure(device, path, warn=pytest.fail)) == 4
    assert len(device.asked) == 1


def test_entries_come_back_in_the_order_of_the_question(
    tmp_path: Path, make_device: MakeDevice
) -> None:
    device, path = make_device(), tmp_path / "table.jsonl"
    edge = boundary_entry(TensorShape(8, 8, 8), After.CONV)
    wanted = [network_entry(NETWORK), edge]
    for _ in range(2):
        entries = measure_entries(device, path, wanted, MeasureSettings(), no_progress)
    assert [entry.key for entry in entries] == [network_key(NETWORK), edge.key]
    assert [entry.latency_ms for entry in entries] == [2.0, 0.25]
    assert entries[0].parts == network_keys(NETWORK)
    assert device.asked == [{network_key(NETWORK), edge.key}, set()]
