"""Valid plans and tables, changed at random in their structure: read or refused, and no harm done.

``test_damaged_files.py`` changes bytes; here lines, fields and members of archives are changed.
"""

import json
import os
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latency import profile
from latency.keys import network_boundaries, network_key, network_keys
from latency.profile import REFERENCE, Plan, ProfileError, open_table, parse_table, visit_lines
from latency.table import LatencyTable, MissingEntryError, TableError
from search_spaces.architecture import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct

Record = dict[str, Any]
Lines = list[bytes]
Change = Callable[[Lines], Lines]

MAX_PEAK_BYTES = 16 << 20
ROUNDS = 2
NETWORKS = [
    Architecture(
        name=f"{first}_{second}",
        blocks=(
            ConvNormAct(out_channels=4, kernel=first),
            ConvNormAct(out_channels=4, kernel=second),
            ClassifierHead(num_classes=10),
        ),
        resolution=8,
    )
    for first, second in product((1, 3, 5), repeat=2)
]


@pytest.fixture(scope="session")
def header(make_header: Callable[..., Record]) -> Record:
    return make_header()


@pytest.fixture(scope="session")
def lines(make_visit: Callable[..., Record], header: Record) -> Lines:
    """A valid table on a machine that becomes slower: blocks, and networks for either role."""
    keys = {key for n in NETWORKS for key in network_keys(n) + network_boundaries(n)}
    entries: list[tuple[str, float, Record]] = [
        (key, 0.1 if key.startswith("boundary") else 0.2 + 0.01 * number, {})
        for number, key in enumerate(sorted(keys))
    ]
    for number, network in enumerate(NETWORKS):
        fields: Record = {
            "role": "calibration" if number < 8 else "validation",
            "parts": network_keys(network),
            "boundaries": network_boundaries(network),
        }
        entries.append((network_key(network), 0.6 + 0.03 * number, fields))
    visits = [
        make_visit(
            key, latency_ms * (1 + at_s / 100), at_s, reference_ms=2.0 * (1 + at_s / 90), **fields
        )
        for at_s, (key, latency_ms, fields) in zip(count(0.5, 0.5), entries * ROUNDS, strict=False)
    ]
    return [json.dumps(record).encode() + b"\n" for record in [header, *visits]]


WORDS = ["NaN", "-Infinity", "1e999", "-1", "-0.0", "1e-320", "1e308", "9" * 5000, "true", "null"]
WORDS += ['""', '"\\ud800"', '"a\\n\\u001b[2J"', "[]", "[null]", "{}", '[["a", "b", 1.0]]', "[-1]"]
FIELDS = ["key", "latency_ms", "median_ms", "reference_ms", "runs", "at_s", "role", "parts"]
FIELDS += ["boundaries", "weights_bytes", "ops", "mhz", "celsius", "throttled", "format", "version"]
FIELDS += ["device", "threads", "affinity", "precision", "a\nb", "\x1b[2J", "unknown"]
PLACES = st.integers(0, 1 << 16)


def _deleted(at: int) -> Change:
    return lambda lines: lines[: at % len(lines)] + lines[at % len(lines) + 1 :]


def _copied(source: int, to: int) -> Change:
    return lambda lines: [
        *lines[: to % len(lines)],
        lines[source % len(lines)],
        *lines[to % len(lines) :],
    ]


def _swapped(one: int, other: int) -> Change:
    def change(lines: Lines) -> Lines:
        order = list(range(len(lines)))
        order[one % len(lines)], order[other % len(lines)] = other % len(lines), one % len(lines)
        return [lines[number] for number in order]

    return change


def _at(at: int, edit: Callable[[bytes], bytes]) -> Change:
    """Edit one line."""
    return lambda lines: [
        edit(line) if number == at % len(lines) else line for number, line in enumerate(lines)
    ]


def _set(at: int, field: str, word: str) -> Change:
    """Write a field as ``word``, which Python's writer of JSON might not write."""
    return _at(at, lambda line: _with_field(line, field, word) + b"\n")


def _misspelt(at: int, field: str) -> Change:
    return _at(at, lambda line: line.replace(json.dumps(field).encode(), b'"x"', 1))


def _with_field(line: bytes, field: str, word: str) -> bytes:
    try:
        return json.dumps(json.loads(line) | {field: "@"}).replace('"@"', word).encode()
    except (ValueError, TypeError, RecursionError):  # changed before, and no longer an object
        return line.rstrip()


def _nested(at: int, field: str, depth: int) -> Change:
    return _set(at, field, "[" * depth + "]" * depth)


def _torn(at: int, length: int) -> Change:
    return lambda lines: [
        *lines[: at % len(lines)],
        lines[at % len(lines)][: length % (len(lines[at % len(lines)]) + 1)],
    ]


CHANGES = st.one_of(
    st.builds(_deleted, PLACES),
    st.builds(_copied, PLACES, PLACES),
    st.builds(_swapped, PLACES, PLACES),
    st.builds(_set, PLACES, st.sampled_from(FIELDS), st.sampled_from(WORDS)),
    st.builds(_set, st.just(0), st.sampled_from(FIELDS), st.sampled_from(WORDS)),
    st.builds(_misspelt, PLACES, st.sampled_from(FIELDS)),
    st.builds(_nested, PLACES, st.sampled_from(FIELDS), st.integers(1, 1100)),
    st.builds(_torn, PLACES, PLACES),
)
ON_ONE_FILE = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@ON_ONE_FILE
@given(changes=st.lists(CHANGES, min_size=1, max_size=3))
def test_a_changed_table_is_read_or_refused(
    tmp_path: Path, lines: Lines, header: Record, changes: list[Change]
) -> None:
    changed = lines
    for change in changes:
        changed = change(changed) or [b""]
    path, content = tmp_path / "table.jsonl", b"".join(changed)
    path.write_bytes(content)
    _predict(path)
    with _within_memory():
        _go_on(path, content, header)


def _predict(path: Path) -> None:
    try:
        table = LatencyTable.load(path)
        table.check(threads=1)
        table.validation()
        for network in NETWORKS[:2]:
            assert 0 <= table.network_latency_ms(network) < float("inf")
    except (TableError, MissingEntryError) as error:
        _check_message(error, path)


def _go_on(path: Path, content: bytes, header: Record) -> None:
    """Open the table to be appended to: whole lines stay as they are, or all of the file does."""
    try:
        with open_table(path, header) as (_, records):
            kept = path.read_bytes()
    except ProfileError as error:
        _check_message(error, path)
        assert path.read_bytes() == content
        return
    whole = content[: content.rfind(b"\n") + 1]
    assert kept == (whole or json.dumps(header).encode() + b"\n")
    assert len(records) == kept.count(b"\n") - 1


@ON_ONE_FILE
@given(random=st.randoms(use_true_random=False))
def test_visits_in_another_order_predict_the_same(
    tmp_path: Path, lines: Lines, random: Any
) -> None:
    visits = lines[1:]
    random.shuffle(visits)
    path, other = tmp_path / "table.jsonl", tmp_path / "other.jsonl"
    path.write_bytes(b"".join(lines))
    other.write_bytes(b"".join([lines[0], *visits]))
    expected, found = LatencyTable.load(path), LatencyTable.load(other)
    assert found.reference_ms == pytest.approx(expected.reference_ms, rel=1e-9)
    for network in NETWORKS:
        latency_ms = expected.network_latency_ms(network)
        assert found.network_latency_ms(network) == pytest.approx(latency_ms, rel=1e-6)


@ON_ONE_FILE
@given(
    at=PLACES,
    field=st.sampled_from(["device", "runtime_version", "provider", "threads", "reference"]),
)
def test_two_devices_in_one_table_are_refused(
    tmp_path: Path, lines: Lines, header: Record, at: int, field: str
) -> None:
    theirs = json.dumps(header | {field: "another"}).encode() + b"\n"
    path = tmp_path / "table.jsonl"
    path.write_bytes(b"".join([theirs, *lines[1:]]))
    with (
        pytest.raises(ProfileError, match=f"{field} is 'another' there and .* here"),
        open_table(path, header),
    ):
        pass
    with pytest.raises(TableError, match=f"{field} is 'another' there and .* here"):
        LatencyTable.load(path).check(**{field: header[field]})
    position = 1 + at % len(lines)
    path.write_bytes(b"".join([*lines[:position], theirs, *lines[position:]]))
    for read in (LatencyTable.load, lambda path: parse_table(path, path.read_bytes())):
        with pytest.raises((TableError, ProfileError), match=f"line {position + 1}: "):
            read(path)


NAMES = ["../climbed", "../../../climbed", "graphs/../../climbed", "a\\..\\climbed", "graphs/", "."]
NAMES += ["plan.json", "graphs/0.onnx", "graphs/1.onnx", "weights.bin", "a\nb", "é" * 300, "a\0b"]
ENTRY_FIELDS = ["key", "graph", "input_shape", "role", "parts", "boundaries", "weights_bytes"]
ENTRY_FIELDS += ["trace", "alone", "unknown"]
PLAN_FIELDS = ["format", "version", "threads", "spinning", "affinity", "batch", "precision", "runs"]
PLAN_FIELDS += ["min_rounds", "max_rounds", "weights_bytes", "reference", "entries", "unknown"]

Members = list[tuple[str, bytes]]
Rewrite = Callable[[Members], Members]


def _contents_swapped(one: int, other: int) -> Rewrite:
    def rewrite(members: Members) -> Members:
        contents = _swapped(one, other)([content for _, content in members])
        return [(name, content) for (name, _), content in zip(members, contents, strict=True)]

    return rewrite


def _renamed(at: int, name: str) -> Rewrite:
    return lambda members: [
        (name if number == at % len(members) else old, content)
        for number, (old, content) in enumerate(members)
    ]


def _member_again(at: int, name: str) -> Rewrite:
    return lambda members: [*members, (name, members[at % len(members)][1])]


def _dropped(at: int) -> Rewrite:
    return lambda members: [m for number, m in enumerate(members) if number != at % len(members)]


def _climbing(at: int, name: str) -> Rewrite:
    """A member with a name that leaves its folder, which an entry of the plan asks for."""

    def rewrite(members: Members) -> Members:
        renamed = _renamed(at, name)(members)
        old, new = json.dumps(members[at % len(members)][0]), json.dumps(name)
        return [(n, c.replace(old.encode(), new.encode())) for n, c in renamed]

    return rewrite


def _plan_field(field: str, word: str) -> Rewrite:
    return lambda members: [
        (name, _with_field(content, field, word) if name == "plan.json" else content)
        for name, content in members
    ]


def _entry_field(at: int, field: str, word: str) -> Rewrite:
    def rewrite(members: Members) -> Members:
        return [
            (name, _in_entry(content, at, field, word) if name == "plan.json" else content)
            for name, content in members
        ]

    return rewrite


def _in_entry(content: bytes, at: int, field: str, word: str) -> bytes:
    try:
        description = json.loads(content)
        description["entries"][at % len(description["entries"])][field] = "@"
    except (ValueError, LookupError, TypeError, AttributeError, ZeroDivisionError):
        return content
    return json.dumps(description).replace('"@"', word).encode()


REWRITES = st.one_of(
    st.builds(_contents_swapped, PLACES, PLACES),
    st.builds(_renamed, PLACES, st.sampled_from(NAMES)),
    st.builds(_member_again, PLACES, st.sampled_from(NAMES)),
    st.builds(_dropped, PLACES),
    st.builds(_climbing, PLACES, st.sampled_from(NAMES)),
    st.builds(_plan_field, st.sampled_from(PLAN_FIELDS), st.sampled_from(WORDS)),
    st.builds(_entry_field, PLACES, st.sampled_from(ENTRY_FIELDS), st.sampled_from(WORDS)),
)


@ON_ONE_FILE
@given(
    rewrites=st.lists(REWRITES, min_size=1, max_size=3),
    claimed_bytes=st.none() | st.integers(0, (1 << 32) - 1),
)
def test_a_changed_plan_is_measured_or_refused_and_writes_nowhere_else(
    tmp_path: Path, small_plan: Path, rewrites: list[Rewrite], claimed_bytes: int | None
) -> None:
    with zipfile.ZipFile(small_plan) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for rewrite in rewrites:
        members = rewrite(members) or [("a", b"")]
    path, table = tmp_path / "changed.plan", tmp_path / "table.jsonl"
    table.unlink(missing_ok=True)
    _write_archive(path, members, claimed_bytes)
    with _within_memory(), _writing_only_under(tmp_path):
        try:
            profile.profile(path, table, lambda _: None, _Bench)
        except ProfileError as error:
            _check_message(error, path)
    if table.exists():
        # What a plan makes us write can be read again.
        parse_table(table, table.read_bytes())
    assert sorted(p.name for p in tmp_path.iterdir() if p != table) == [path.name]


def _write_archive(path: Path, members: Members, claimed_bytes: int | None) -> None:
    with pytest.MonkeyPatch.context() as patch, zipfile.ZipFile(path, "w") as archive:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of names that come twice
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
        if claimed_bytes is not None:
            archive.infolist()[0].file_size = claimed_bytes


class _Bench:
    """Does with a plan's graphs what the runtime's bench does, but runs none of them."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.seconds_in_runs = 0.0
        self._plan = plan
        self._folder = folder
        self._seconds = count()

    def describe(self) -> Record:
        return {"device": "a", "runtime": "b", "runtime_version": "c", "provider": "d"}

    def warm_up(self) -> None:
        self._plan.graph(self._plan.reference)

    def sit(self, entries: Sequence[Record]) -> list[Record]:
        for entry in entries:
            (self._folder / "graph.onnx").write_bytes(self._plan.graph(entry))
        turns = [REFERENCE, *range(len(entries))] * 2
        lines = visit_lines(entries, turns, [0.001] * len(turns))
        return [line | {"at_s": float(next(self._seconds))} for line in lines]


_written: list[str] | None = None


def _note_writing(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    if event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        _written.append(str(arguments[0]))
    elif event in ("os.mkdir", "os.rename", "os.symlink", "os.link"):
        _written.extend(str(path) for path in arguments[:2] if isinstance(path, str | Path))


sys.addaudithook(_note_writing)


@contextmanager
def _writing_only_under(folder: Path) -> Iterator[None]:
    """Whatever the interpreter is asked to write meanwhile, lies in the folder."""
    global _written
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        _written = written = []
        try:
            yield
        finally:
            _written = None
    for path in written:
        assert Path(path).resolve().is_relative_to(folder.resolve()), path


@contextmanager
def _within_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_PEAK_BYTES
    finally:
        tracemalloc.stop()


def _check_message(error: Exception, path: Path) -> None:
    assert str(error).isprintable()
    assert str(path) in str(error)
