"""Whatever has become of a table or a plan, it is read, or refused with our own error."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency.profile import Plan, ProfileError, open_table
from latency.table import LatencyTable, TableError, read_visits

HEADER: dict[str, object] = {"format": "chronas-latency-table", "version": 3, "threads": 1}


def _record(key: str, latency_ms: float, at_s: float, **fields: object) -> dict[str, object]:
    record: dict[str, object] = {"key": key, "latency_ms": latency_ms, "median_ms": latency_ms}
    return record | {"reference_ms": 2.0, "runs": 3, "at_s": at_s, **fields}


NETWORK = {"parts": ["Block(a=1)", "Block(a=2)"], "boundaries": ["boundary@4x8x8"]}
RECORDS = [
    _record("Block(a=1)", 1.0, 1.0),
    _record("boundary@4x8x8", 0.1, 2.0, mhz=3000.0),
    _record("Block(a=2)", 2.0, 4.0, throttled=1),
    _record("Network(12)", 2.8, 8.0, role="calibration", **NETWORK),
    _record("Network(34)", 2.9, 9.0, role="validation", **NETWORK),
    _record("Network(34)", 3.0, 12.0, role="validation", **NETWORK),
    _record("Block(a=1)", 1.1, 15.0, ops=[["conv", "Conv", 0.9]]),
]
TABLE = "".join(f"{json.dumps(record)}\n" for record in [HEADER, *RECORDS]).encode()
VALUES = ["NaN", "-Infinity", "1e400", "-1", "-0.0", "true", "null", "[]", '"1"', "9" * 5000]
VALUES += ["[" * 3000 + "]" * 3000, '{"a":' * 3000 + "1" + "}" * 3000, "1e-320", "0"]

Damage = Callable[[bytes], bytes]


def _cut(length: int) -> Damage:
    return lambda data: data[: length % (len(data) + 1)]


def _flip(bit: int) -> Damage:
    def damage(data: bytes) -> bytes:
        if not data:
            return data
        at = bit // 8 % len(data)
        return data[:at] + bytes([data[at] ^ 1 << bit % 8]) + data[at + 1 :]

    return damage


def _replace(at: int, length: int, by: bytes) -> Damage:
    return lambda data: data[: at % (len(data) + 1)] + by + data[at % (len(data) + 1) + length :]


def _value(number: int, value: str) -> Damage:
    """Put ``value`` where the table's ``number``-th value is."""

    def damage(data: bytes) -> bytes:
        pieces = data.split(b": ")
        at = 1 + number % max(1, len(pieces) - 1)
        if at < len(pieces):
            end = min((pieces[at].find(c) for c in (b",", b"}") if c in pieces[at]), default=0)
            pieces[at] = value.encode() + pieces[at][end:]
        return b": ".join(pieces)

    return damage


def _reorder(order: list[int]) -> Damage:
    def damage(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        return b"".join(lines[number % len(lines)] for number in order) if lines else data

    return damage


PLACES = st.integers(0, 1 << 20)
BYTE_DAMAGES = st.one_of(
    st.builds(_cut, PLACES),
    st.builds(_flip, PLACES),
    st.builds(_replace, PLACES, st.integers(0, 50), st.binary(max_size=20)),
)
TABLE_DAMAGES = st.one_of(
    BYTE_DAMAGES,
    st.builds(_value, st.integers(0, 80), st.sampled_from(VALUES)),
    st.builds(_reorder, st.lists(st.integers(0, 7), max_size=9)),
)
ON_ONE_FILE = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ON_ONE_FILE
@given(damages=st.lists(TABLE_DAMAGES, min_size=1, max_size=3))
def test_a_damaged_table_is_read_or_refused(tmp_path: Path, damages: list[Damage]) -> None:
    path = _damaged(tmp_path / "table.jsonl", TABLE, damages)
    try:
        table = LatencyTable.load(path)
        table.validation()
        assert all(0 < entry.latency_ms < float("inf") for entry in table.entries)
    except TableError as error:
        _check_message(error, path)
    content = path.read_bytes()
    try:
        with open_table(path, HEADER) as (_, records):
            assert len(records) == path.read_bytes().count(b"\n") - 1
    except ProfileError as error:
        _check_message(error, path)
        assert path.read_bytes() == content


@ON_ONE_FILE
@given(length=st.integers(0, len(TABLE)))
def test_a_truncated_table_holds_the_whole_visits_of_the_original(
    tmp_path: Path, length: int
) -> None:
    path = tmp_path / "table.jsonl"
    path.write_bytes(TABLE[:length])
    lines = TABLE[:length].count(b"\n")
    if not lines:
        with pytest.raises(TableError, match="holds no table yet"):
            LatencyTable.load(path)
        return
    assert read_visits(path) == (HEADER, RECORDS[: lines - 1])
    assert len(LatencyTable.load(path)) == len({record["key"] for record in RECORDS[: lines - 1]})


@ON_ONE_FILE
@given(damages=st.lists(BYTE_DAMAGES, min_size=1, max_size=3))
def test_a_damaged_plan_is_read_or_refused(
    tmp_path: Path, small_plan: Path, damages: list[Damage]
) -> None:
    _read_plan(_damaged(tmp_path / "damaged.plan", small_plan.read_bytes(), damages))


@ON_ONE_FILE
@given(
    member=st.sampled_from(["plan.json", "graphs/1.onnx"]),
    damages=st.lists(TABLE_DAMAGES, min_size=1, max_size=3),
)
def test_a_plan_with_a_damaged_member_is_read_or_refused(
    tmp_path: Path, small_plan: Path, member: str, damages: list[Damage]
) -> None:
    path = tmp_path / "damaged.plan"
    with zipfile.ZipFile(small_plan) as source, zipfile.ZipFile(path, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            if name == member:
                for damage in damages:
                    data = damage(data)
            archive.writestr(name, data)
    _read_plan(path)


def _damaged(path: Path, data: bytes, damages: list[Damage]) -> Path:
    for damage in damages:
        data = damage(data)
    path.write_bytes(data)
    return path


def _read_plan(path: Path) -> None:
    try:
        with Plan(path) as plan:
            for entry in [*plan.entries, plan.reference]:
                plan.graph(entry)
    except ProfileError as error:
        _check_message(error, path)


def _check_message(error: Exception, path: Path) -> None:
    assert str(error).isprintable()
    assert str(path) in str(error)
