"""Tables: predictions by hand-made figures, and what is said of a table that is no good."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from latency.keys import OVERHEAD_KEY, block_key, network_key, network_keys
from latency.table import Entry, LatencyTable, MissingEntryError, TableError
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

CONV = ConvNormAct(out_channels=8, kernel=3)
NETWORK = Architecture(name="two", blocks=(CONV, ClassifierHead(num_classes=10)), resolution=8)
CONV_KEY, HEAD_KEY = network_keys(NETWORK)
HEADER = {"format": "chronas-latency-table", "version": 1, "threads": 1, "runtime": "onnxruntime"}


def _entry(key: str, ratio: float, **others: Any) -> Entry:
    values = {"interval": 0.01, "rounds": 5, "latency_ms": 2 * ratio, "reference_ms": 2.0}
    return Entry(**{"key": key, "ratio": ratio, **values, **others})


def _table(entries: Sequence[Entry]) -> LatencyTable:
    return LatencyTable(HEADER, entries, "table.jsonl")


BLOCKS = [_entry(OVERHEAD_KEY, 0.05), _entry(CONV_KEY, 1.05), _entry(HEAD_KEY, 0.55)]


def test_a_network_is_one_overhead_and_what_each_block_adds_to_it() -> None:
    table = _table(BLOCKS)
    assert table.overhead_ms == pytest.approx(0.1)
    assert table.block_latency_ms(CONV, NETWORK.input_shape) == pytest.approx(2.0)
    assert table.network_latency_ms(NETWORK) == pytest.approx(0.1 + 2.0 + 1.0)


def test_milliseconds_are_ratios_times_the_references_median_over_the_whole_table() -> None:
    # The machine was half as fast while the head was measured; its ratio does not show it.
    head = _entry(HEAD_KEY, 0.55, reference_ms=4.0, latency_ms=2.2)
    table = _table([*BLOCKS[:2], head])
    assert table.reference_ms == 2.0
    assert table.network_latency_ms(NETWORK) == pytest.approx(3.1)


def test_the_scale_is_that_of_whole_networks_in_the_median() -> None:
    # Blocks add up to 3 ms. Without the overhead the networks took 2.7, 2.4 and 3.6 ms.
    networks = [
        _entry(f"Network({n})", ratio, parts=(CONV_KEY, HEAD_KEY))
        for n, ratio in enumerate((1.4, 1.25, 1.85))
    ]
    table = _table([*BLOCKS, *networks])
    assert table.scale == pytest.approx(0.9)
    assert table.block_latency_ms(CONV, NETWORK.input_shape) == pytest.approx(1.8)
    assert table.network_latency_ms(NETWORK) == pytest.approx(0.1 + 2.7)


def test_a_network_whose_blocks_are_not_all_measured_does_not_count_for_the_scale() -> None:
    network = _entry("Network(0)", 9.0, parts=(CONV_KEY, "never measured"))
    assert _table([*BLOCKS, network]).scale == 1.0


def test_a_block_that_costs_less_than_a_run_adds_nothing() -> None:
    table = _table([BLOCKS[0], _entry(CONV_KEY, 0.04), BLOCKS[2]])
    assert table.network_latency_ms(NETWORK) == pytest.approx(0.1 + 1.0)


@pytest.mark.parametrize("ratio", [0.05, 100.0])
def test_whole_networks_that_have_nothing_to_do_with_their_blocks_are_refused(ratio: float) -> None:
    table = _table([*BLOCKS, _entry("Network(0)", ratio, parts=(CONV_KEY, HEAD_KEY))])
    with pytest.raises(TableError, match=r"table.jsonl predicts nothing: .* measure anew"):
        table.network_latency_ms(NETWORK)


def test_a_missing_block_is_named_with_the_command_that_measures_it() -> None:
    table = _table([entry for entry in BLOCKS if entry.key != HEAD_KEY])
    with pytest.raises(MissingEntryError) as caught:
        table.network_latency_ms(NETWORK)
    message = str(caught.value)
    assert f"table.jsonl has no entry for {HEAD_KEY}" in message
    assert "python latency/profile.py PLAN --out table.jsonl" in message


@pytest.mark.parametrize("entries", [[], BLOCKS[1:]])
def test_a_table_without_an_overhead_predicts_nothing(entries: list[Entry]) -> None:
    with pytest.raises(MissingEntryError, match="has no entry for overhead"):
        _table(entries).network_latency_ms(NETWORK)


def test_a_header_that_differs_is_refused_and_says_in_what() -> None:
    table = _table(BLOCKS)
    table.check(threads=1, runtime="onnxruntime")
    with pytest.raises(TableError) as caught:
        table.check(threads=4, runtime="onnxruntime", precision="fp32")
    message = str(caught.value)
    assert "threads is 1 there and 4 here" in message
    assert "precision is None there and 'fp32' here" in message
    assert "runtime is" not in message


def test_a_table_that_was_written_is_read_back(tmp_path: Path) -> None:
    network = _entry(network_key(NETWORK), 1.4, parts=network_keys(NETWORK))
    path = _write(tmp_path, *map(_line, [*BLOCKS, network]))
    table = LatencyTable.load(path)
    assert (len(table), table.source, table.header) == (4, str(path), HEADER)
    assert [table.entry(entry.key) for entry in [*BLOCKS, network]] == [*BLOCKS, network]
    assert block_key(CONV, NETWORK.input_shape) in table
    assert table.scale == pytest.approx(0.9)


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = _write(tmp_path, *map(_line, BLOCKS))
    path.write_bytes(path.read_bytes()[:-20])
    assert len(LatencyTable.load(path)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not JSON", "Expecting value"),
        ("", "Expecting value"),
        ("[1, 2]", "must be a JSON object"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        ('{"key": "a"}', "lacks 'interval'"),
        ({"key": ""}, "key must be a name"),
        ({"key": ["a"]}, "key must be a name"),
        ({"key": CONV_KEY}, "repeats line 3"),
        ({"ratio": -1.0}, "ratio must be a number in 1e-09..1e.09, but is -1.0"),
        ({"ratio": True}, "ratio must be a number"),
        ({"ratio": 0.0}, "ratio must be a number"),
        ({"ratio": "1"}, "ratio must be a number"),
        ({"ratio": 10**400}, "ratio must be a number"),
        ({"ratio": float("nan")}, "NaN is no number"),
        ({"interval": float("inf")}, "Infinity is no number"),
        ({"interval": -0.1}, "interval must be a number in 0..1e.09"),
        ({"latency_ms": None}, "latency_ms must be a number"),
        ({"reference_ms": 1e300}, "reference_ms must be a number"),
        ({"rounds": 2.5}, "rounds must be a positive integer, but is 2.5"),
        ({"rounds": 0}, "rounds must be a positive integer"),
        ({"latency_ms": 0.002}, "contradict each other"),
        ({"parts": "ab"}, "parts must be a list of keys"),
        ({"parts": [1]}, "parts must be a list of keys"),
        ({"energy_mj": 1.0}, "has the unknown field 'energy_mj'"),
    ],
)
def test_a_damaged_line_is_named_by_file_and_line(
    tmp_path: Path, line: str | dict[str, Any], message: str
) -> None:
    if isinstance(line, dict):
        line = json.dumps(json.loads(_line(_entry("new", 1.0))) | line)
    path = _write(tmp_path, _line(BLOCKS[0]), _line(BLOCKS[1]), line, _line(BLOCKS[2]))
    with pytest.raises(TableError, match=message) as caught:
        LatencyTable.load(path)
    assert str(caught.value).startswith(f"{path}, line 4: ")
    assert "delete the line to measure it again" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no table yet"),
        (b'{"format": "chronas-lat', "holds no table yet"),
        (b"somebody's letter", "is no latency table"),
        (b"somebody's\nletter\n", "line 1: "),
        (b'{"format": "chronas-latency-table", "version": 2}\n', "of this version"),
        (b"\x80\x81\n", "line 1: "),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        LatencyTable.load(path)


def _line(entry: Entry) -> str:
    names = ("key", "ratio", "interval", "rounds", "latency_ms", "reference_ms")
    record = {name: getattr(entry, name) for name in names}
    return json.dumps(record | ({"parts": entry.parts} if entry.parts else {}))


def _write(folder: Path, *lines: str) -> Path:
    path = folder / "table.jsonl"
    path.write_text("".join(f"{line}\n" for line in (json.dumps(HEADER), *lines)))
    return path
