"""Filling tables: what is missing is measured, and nothing else, and only in the right table."""

import json
from pathlib import Path
from typing import Any

import pytest

from latency.keys import OVERHEAD_KEY, block_key, network_key, network_keys
from latency.measure import ensure_table, measure_entries
from latency.plan import (
    REFERENCE_BLOCK,
    REFERENCE_SHAPE,
    MeasureSettings,
    Progress,
    block_entry,
    network_entry,
)
from latency.profile import Plan, open_table
from latency.table import TableError
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

CONV = ConvNormAct(out_channels=8, kernel=3)
NETWORK = Architecture(name="two", blocks=(CONV, ClassifierHead(num_classes=10)), resolution=8)
CONV_KEY, HEAD_KEY = network_keys(NETWORK)


class FakeDevice:
    """Every block takes 1 ms, a network 2 ms; remembers what it was asked for."""

    def __init__(self, **header: object) -> None:
        self.asked: list[set[str]] = []
        self._header = {"runtime": "fake"} | header

    def describe(self) -> dict[str, Any]:
        return {"runtime": self._header["runtime"]}

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        with Plan(plan) as content:
            header = {
                "format": "chronas-latency-table",
                "version": 1,
                "threads": content.threads,
                "batch": content.batch,
                "precision": "fp32",
                "reference": content.reference["key"],
                **self._header,
            }
            self.asked.append({entry["key"] for entry in content.entries})
            with open_table(table, header) as (file, done):
                for entry in content.entries:
                    if entry["key"] not in done:
                        ratio = {OVERHEAD_KEY: 0.1}.get(
                            entry["key"], 2.0 if "parts" in entry else 1
                        )
                        file.write(json.dumps(_record(entry, float(ratio))).encode() + b"\n")


def _record(entry: dict[str, Any], ratio: float) -> dict[str, Any]:
    parts = {"parts": entry["parts"]} if "parts" in entry else {}
    values = {"ratio": ratio, "interval": 0.0, "rounds": 5, "latency_ms": ratio}
    return {"key": entry["key"], **values, "reference_ms": 1.0, **parts}


def _ensure(device: FakeDevice, path: Path, settings: MeasureSettings | None = None) -> Any:
    settings = settings or MeasureSettings()
    return ensure_table(device, path, NETWORK.walk(), [NETWORK], settings, lambda *_: None)


def test_only_what_the_table_lacks_is_measured(tmp_path: Path) -> None:
    device, path = FakeDevice(), tmp_path / "new" / "table.jsonl"
    table = _ensure(device, path)
    assert device.asked == [{OVERHEAD_KEY, CONV_KEY, HEAD_KEY, network_key(NETWORK)}]
    assert len(table) == 4
    assert len(_ensure(device, path)) == 4
    assert len(device.asked) == 1
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if f'"key": "{HEAD_KEY}"' not in line))
    assert len(_ensure(device, path)) == 4
    assert device.asked[1:] == [{HEAD_KEY}]


@pytest.mark.parametrize("torn", [b"", b'{"format": "chronas-late'])
def test_a_torn_header_is_measured_over(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(torn)
    assert len(_ensure(FakeDevice(), path)) == 4


@pytest.mark.parametrize(
    ("header", "settings", "message"),
    [
        ({"runtime": "other"}, {}, "runtime is 'other' there and 'fake' here"),
        ({"precision": "int8"}, {}, "precision is 'int8' there and 'fp32' here"),
        ({"reference": "another"}, {}, "reference is 'another' there and 'InvertedResidual"),
        ({}, {"threads": 2}, "threads is 1 there and 2 here"),
        ({}, {"batch": 8}, "batch is 1 there and 8 here"),
    ],
)
def test_a_whole_table_of_other_circumstances_is_refused_all_the_same(
    tmp_path: Path, header: dict[str, str], settings: dict[str, int], message: str
) -> None:
    path = tmp_path / "table.jsonl"
    _ensure(FakeDevice(), path)
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([json.dumps(json.loads(first) | header) + "\n", *rest]))
    with pytest.raises(TableError, match=message):
        _ensure(FakeDevice(), path, MeasureSettings(**settings))


def test_entries_come_back_in_the_order_of_the_question(tmp_path: Path) -> None:
    device, path = FakeDevice(), tmp_path / "table.jsonl"
    wanted = [network_entry(NETWORK), block_entry(REFERENCE_BLOCK, REFERENCE_SHAPE)]
    entries = measure_entries(device, path, wanted, MeasureSettings(), lambda *_: None)
    assert [entry.key for entry in entries] == [
        network_key(NETWORK),
        block_key(REFERENCE_BLOCK, REFERENCE_SHAPE),
    ]
    assert [entry.ratio for entry in entries] == [2.0, 1.0]
    assert entries[0].parts == network_keys(NETWORK)
