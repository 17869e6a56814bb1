"""Measure a plan on this device. Stands alone: Python, numpy and onnxruntime, nothing else.

    python latency/profile.py PLAN --out TABLE

Entries run in turns, some forty and the plan's reference network to a sitting: when the turn comes
to one again, its weights have left the caches, as they have inside a network, and what slows down
the whole sitting is the machine. Machines drift (other tenants, turbo, heat), so every entry is
visited in several rounds, in random company, until its visits agree. The table is append-only JSON
Lines: a header, then a line a visit. Run again, it goes on where it stopped; a killed run loses the
sitting in flight, a second or two, and nothing else. Neither plan nor table is trusted.
"""

# Run as a script, Python puts this folder first on the path, and this file would shadow the
# standard library's ``profile``.
import os
import sys

if __name__ == "__main__":
    _here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120
    sys.path[:] = [p for p in sys.path if os.path.realpath(p or ".") != _here]

import argparse
import contextlib
import functools
import gc
import json
import math
import platform
import random
import signal
import struct
import tempfile
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any, BinaryIO, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

PLAN_FORMAT = "chronas-plan"
TABLE_FORMAT = "chronas-latency-table"
FORMAT_VERSION = 3
WEIGHTS_FILE = "weights.bin"
CPU_PROVIDER = "CPUExecutionProvider"
PRECISIONS = ("fp32", "int8", "fp16")

MAX_FILE_BYTES = 256 << 20
MAX_DESCRIPTION_BYTES = 64 << 20
"""Of ``plan.json``, unpacked: as Python objects it may take twenty times that."""
MAX_GRAPH_BYTES = 256 << 20
MAX_WEIGHTS_BYTES = 1 << 30
MAX_INPUT_VALUES = 1 << 28
MAX_ENTRIES = 1_000_000
MAX_THREADS = MAX_BATCH = MAX_CORES = 1024
MAX_ROUNDS = 1000
MIN_RUNS, MAX_RUNS = 3, 1000
PLAUSIBLE_MS = 1e-9, 1e9

INTERVAL_GOAL = 0.01
"""An entry is done once its 95 % interval is within ±1 % of it, or of a quarter of the reference
where that is more: what is small in a network need not be known as well."""

SITTING = 40
"""Entries that take turns. What they read between two turns of one is more than caches hold, and
what half of them feel alike is the machine."""

COMPANY = 8
"""How many of a kind sit together, where there are so many: the first finds its code cold."""

FEW = 5 * SITTING
"""So many entries are no sample of a network's: half of the seats beside them are for company."""

REFERENCE = -1
"""The reference network's place in a sitting, beside 0, 1, … of the entries."""

POLISHES = 10

THROTTLE_TRIES = 3
THROTTLE_PAUSE_SECONDS = 1.0
TRACE_RUNS = 40

LOCK_SECONDS = 5.0
HEARTBEAT_SECONDS = 1.5
WEIGHTS_CHUNK_BYTES = 4 << 20


class ProfileError(Exception):
    """Something the person who runs this can mend; shown as one line."""


def main(arguments: list[str] | None = None) -> int:
    # Without argparse's own usage a mistake is answered in one line; --help shows the text above.
    parser = argparse.ArgumentParser(
        usage=argparse.SUPPRESS,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("plan", type=Path, nargs="?", help="plan file, made by `python -m latency.plan`")
    add("--out", type=Path, help="table to write, or to go on with")
    add("--describe", action="store_true", help="print what this device is, as JSON, and no more")
    add("--provider", default=CPU_PROVIDER, help="execution provider of onnxruntime (%(default)s)")
    add("--quiet", action="store_true", help="print no progress")
    options = parser.parse_args(arguments)
    say: Callable[[str], None] = (lambda _: None) if options.quiet else _print_now
    try:
        if options.describe:
            _print_now(json.dumps(describe(options.provider)))
        elif options.plan is None or options.out is None:
            raise ProfileError("give a plan and --out TABLE; `python -m latency.plan` makes a plan")
        else:
            bench = functools.partial(OrtBench, provider=options.provider)
            profile(options.plan, options.out, say, bench)
    except (ProfileError, OSError) as error:
        print(f"profile.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say(f"stopped; what is measured is in {options.out}; run again to go on")
        return 130
    return 0


def _print_now(text: str) -> None:
    print(text, flush=True)


def profile(
    plan_path: Path,
    table_path: Path,
    say: Callable[[str], None],
    make_bench: "Callable[[Plan, Path], Bench]",
) -> None:
    """Measure what the plan asks for and the table lacks.

    ``make_bench`` is given the plan and an empty folder.

    Raises:
        ProfileError: plan or table is torn, hostile, or of another device or other settings.
        OSError: the table cannot be written.
    """
    with Plan(plan_path) as plan, tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        bench = make_bench(plan, Path(folder))
        header = table_header(plan, bench.describe())
        with open_table(table_path, header) as (table, records):
            rounds = Rounds(plan, records)
            if not rounds.due():
                return say(
                    f"nothing to measure: all {len(plan.entries)} entries are in {table_path}"
                )
            started = time.monotonic()
            with heartbeat(rounds.progress, say) as check:
                bench.warm_up()
                while sittings := rounds.due():
                    for entries in sittings:
                        for line in bench.sit(entries):
                            _append_line(table, line)
                            rounds.add(line)
                        check()
            share = bench.seconds_in_runs / (time.monotonic() - started)
            say(f"{time.monotonic() - started:.0f} s, {share:.0%} of them inside runs")
    return None


class Bench(Protocol):
    """What times graphs."""

    seconds_in_runs: float

    def describe(self) -> dict[str, Any]:
        """The header fields ``device``, ``runtime``, ``runtime_version`` and ``provider``."""
        ...

    def warm_up(self) -> None:
        """Whatever takes long before the first visit."""
        ...

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Time entries in turns, and return their lines for the table, in order."""
        ...


class Rounds:
    """Which entries are to be visited (again), and how far all is.

    A round visits, in random order, every entry that has fewer than ``min_rounds`` visits, or whose
    visits do not agree well enough yet and are fewer than ``max_rounds``. An entry that is to be
    traced is visited until its nodes have been timed. Company is never visited for its own sake: it
    fills sittings that are small, and half of each where entries are few.
    """

    def __init__(self, plan: "Plan", records: Iterable[dict[str, Any]]) -> None:
        self._plan = plan
        self._keys = {entry["key"] for entry in plan.entries}
        self._traced = {entry["key"] for entry in plan.entries if entry.get("trace")}
        self._company = [entry for entry in plan.entries if entry.get("company")]
        self._wanted = [entry for entry in plan.entries if not entry.get("company")]
        self._wanted_keys = {entry["key"] for entry in self._wanted}
        self._visits: list[dict[str, Any]] = []
        self._random = random.Random(0)  # noqa: S311
        self._places: dict[str, float] = {}
        self._due = 0
        self._done = 0
        for record in records:
            self._note(record)

    def add(self, line: dict[str, Any]) -> None:
        self._note(line)
        self._done += line["key"] in self._wanted_keys

    def _note(self, line: dict[str, Any]) -> None:
        # A visit without a trace, of an earlier plan, is none that this plan asks for.
        if line["key"] in self._keys and ("ops" in line or line["key"] not in self._traced):
            self._visits.append(line)

    def due(self) -> list[list[dict[str, Any]]]:
        """The sittings of the next round; none where all is done."""
        visits = at_usual_speed(self._visits)
        spread = pooled_spread(list(visits.values()))
        least = median(line["reference_ms"] for line in self._visits) / 4 if visits else 0.0
        due: list[tuple[dict[str, Any], int]] = []
        self._due = self._done
        for entry in self._wanted:
            known = visits.get(entry["key"], [])
            if self._is_due(entry, known, spread, least):
                now = min(_times(entry), self._most_rounds(entry) - len(known))
                due.append((entry, now))
                self._due += max(now, self._min_rounds(entry) - len(known))
        self._random.shuffle(due)
        size = SITTING // 2 if self._company and len(due) <= FEW else SITTING
        sittings = seated([entry for entry, times in due for _ in range(times)], size)
        self._random.shuffle(sittings)
        return [
            self._in_order(accompanied(sitting, self._company, self._random))
            for sitting in sittings
        ]

    def _in_order(self, sitting: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The order in which a sitting's sessions are made: random, and every second time mirrored.

        What is made later is some percent faster, in all of a sitting's runs: 3 % slower to 5 %
        faster over forty entries, 4 to 5 % of two whole networks. Over two visits that cancels.
        """
        places: dict[str, float] = {}
        for key in (entry["key"] for entry in sitting):
            if key in self._places:
                places[key] = 1 - self._places.pop(key)
            else:
                places[key] = self._places[key] = self._random.random()
        return sorted(sitting, key=lambda entry: places[entry["key"]])

    def lacking(self) -> list[dict[str, Any]]:
        """The entries that have fewer visits than any entry must have, however well these agree."""
        counts = Counter(line["key"] for line in self._visits)
        return [entry for entry in self._wanted if counts[entry["key"]] < self._min_rounds(entry)]

    def progress(self) -> tuple[int, int]:
        """Visits that this run has made, and those that it knows it must make."""
        return self._done, self._due

    def _is_due(
        self, entry: dict[str, Any], visits: list[float], spread: float, least: float
    ) -> bool:
        if len(visits) < self._min_rounds(entry):
            return True
        if len(visits) >= self._most_rounds(entry):
            return False
        middle = median(visits)
        return middle * half_interval(visits, spread) > INTERVAL_GOAL * max(middle, least)

    def _min_rounds(self, entry: dict[str, Any]) -> int:
        return 1 if entry.get("trace") else self._plan.min_rounds * _times(entry)

    def _most_rounds(self, entry: dict[str, Any]) -> int:
        return 1 if entry.get("trace") else self._plan.max_rounds * _times(entry)


def _times(entry: dict[str, Any]) -> int:
    """Visits a round. Whole networks are few, and all is judged by them: they have two."""
    return 2 if "parts" in entry and not entry.get("trace") else 1


def seated(due: Sequence[dict[str, Any]], size: int = SITTING) -> list[list[dict[str, Any]]]:
    """Sittings of about equal size, no entry twice in one; what is timed alone sits by itself.

    Of a kind that is rare, ``COMPANY`` at least sit together. Visits of the same entry stand next
    to each other in ``due``, and so are dealt to two sittings.
    """
    alone = [[entry] for entry in due if entry.get("alone")]
    kinds: dict[str, list[dict[str, Any]]] = {}
    for entry in due:
        if not entry.get("alone"):
            kinds.setdefault(entry.get("kind", ""), []).append(entry)
    number = -(-sum(map(len, kinds.values())) // size)
    sittings: list[dict[str, dict[str, Any]]] = [{} for _ in range(number)]
    seat = 0
    for kind, members in kinds.items():
        tables = min(number, max(1, len(members) // COMPANY)) if kind else number
        for index, entry in enumerate(members):
            sittings[(seat + index % tables) % number][entry["key"]] = entry
        seat += len(members) if tables == number else tables
    return [list(sitting.values()) for sitting in sittings if sitting] + alone


def accompanied(
    sitting: list[dict[str, Any]], company: Sequence[dict[str, Any]], rng: random.Random
) -> list[dict[str, Any]]:
    """A sitting, filled up with entries that the table knows: those of its kinds first.

    Few entries by themselves find their weights in the caches, and the reference would find its
    own: the visits would be those of another machine, and nothing but the reference would say so.
    And a large map finds its memory cold where all others are small, which it never does inside a
    network: a block of 0.3 ms was seen to take 0.43.
    """
    if sitting[0].get("alone"):
        return sitting
    kinds = {entry.get("kind") for entry in sitting}
    others = rng.sample(company, len(company))
    others.sort(key=lambda entry: entry.get("kind") not in kinds)
    return sitting + others[: max(0, SITTING - len(sitting))]


def at_usual_speed(visits: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """What each visit would have been at the machine's usual speed, by entry, in order of time.

    The visits of a sitting, which have ``at_s`` in common, ran in turns: what slowed down most of
    them was the machine. So a visit is taken for the product of its entry's latency and its
    sitting's slowness, and both are found by medians in turns (Tukey's median polish), with the
    reference network as one more entry of every sitting.
    """
    ordered = sorted(visits, key=lambda visit: (visit["at_s"], visit["key"]))
    if not ordered:
        return {}
    keys = {key: index for index, key in enumerate(dict.fromkeys(v["key"] for v in ordered))}
    entries = np.array([keys[visit["key"]] for visit in ordered])
    _, first, sitting = np.unique(
        [visit["at_s"] for visit in ordered], return_index=True, return_inverse=True
    )
    # Beside a single entry the reference finds its weights in the cache: there it is another entry.
    references = len(keys) + (np.bincount(sitting) == 1)
    reference = np.log([ordered[index]["reference_ms"] for index in first])
    values = np.concatenate([np.log([visit["latency_ms"] for visit in ordered]), reference])
    rows = np.concatenate([entries, references])
    columns = np.concatenate([sitting, np.arange(len(first))])
    slowness = reference - _medians(reference, references)[references]
    for _ in range(POLISHES):
        usual = _medians(values - slowness[columns], rows)
        slowness = _medians(values - usual[rows], columns)
        slowness -= np.median(slowness)
    steady = np.exp(values - slowness[columns]).tolist()
    found: dict[str, list[float]] = {key: [] for key in keys}
    for visit, latency_ms in zip(ordered, steady, strict=False):
        found[visit["key"]].append(latency_ms)
    return found


def _medians(values: NDArray[np.float64], groups: NDArray[np.intp]) -> NDArray[np.float64]:
    """The median of the values of each group 0, 1, …; NaN of a group that has none."""
    counts = np.bincount(groups)
    ordered = np.append(values[np.lexsort((values, groups))], np.nan)
    starts = np.cumsum(counts) - counts
    middles = starts + (counts - 1) // 2, starts + counts // 2
    medians = (ordered[middles[0]] + ordered[middles[1]]) / 2
    return np.where(counts > 0, medians, np.nan)


def pooled_spread(entries: list[list[float]]) -> float:
    """The usual standard deviation of a visit, relative: the median over entries.

    Every entry is measured in the same way on the same machine, and two or three visits of one
    alone say little of how much they may differ. The median of the estimates from few visits is
    too low; that is made up for (Wilson and Hilferty's median of a chi-square distribution).
    """
    spreads = [
        _spread(visits) / (1 - 2 / (9 * (len(visits) - 1))) ** 1.5
        for visits in entries
        if len(visits) > 1
    ]
    return median(spreads) if spreads else 0.0


def _spread(visits: list[float]) -> float:
    """The standard deviation of two visits or more, relative."""
    return float(np.log(visits).std(ddof=1))


def half_interval(visits: list[float], spread: float) -> float:
    """Half the 95 % interval of an entry's latency, relative: of ``spread`` or the visits' own."""
    own = _spread(visits) if len(visits) > 1 else 0.0
    return 1.96 * max(own, spread) / math.sqrt(len(visits))


@contextlib.contextmanager
def heartbeat(
    progress: Callable[[], tuple[int, int]], say: Callable[[str], None]
) -> Iterator[Callable[[], None]]:
    """Says how far the measurement is every other second, however long one run takes.

    Yields what raises OSError once nobody listens any more, because whoever started this is gone:
    the measurement is to stop then.
    """
    started, failures = time.monotonic(), list[OSError]()
    stopped = threading.Event()

    def report() -> None:
        done, total = progress()
        left = (time.monotonic() - started) / max(1, done) * (total - done)
        say(f"measured {done}/{total} visits" + (f", {left:.0f} s left" if done else ""))

    def beat() -> None:
        try:
            while not stopped.wait(HEARTBEAT_SECONDS):
                report()
        except OSError as error:
            failures.append(error)

    def check() -> None:
        if failures:
            raise failures[0]

    report()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield check
    finally:
        stopped.set()
        thread.join()
    report()


_ARCHIVE_ERRORS = (OSError, EOFError, RuntimeError, ValueError, KeyError, struct.error,
                   zipfile.BadZipFile, zlib.error)  # fmt: skip


class Plan:
    """A plan file: a zip archive of ``plan.json`` and ONNX graphs.

    Members are read into memory by name and never unpacked under a name of the archive's choosing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
            self._archive = zipfile.ZipFile(path)
            self._checked: set[str] = set()
        except _ARCHIVE_ERRORS as error:
            hint = "`python -m latency.plan` makes one"
            raise ProfileError(f"{path} is no plan: {error}; {hint}") from None
        try:
            self._read_settings(_parse_json(self._read("plan.json", MAX_DESCRIPTION_BYTES)))
        except (ProfileError, ValueError) as error:
            self._archive.close()
            raise ProfileError(f"{path} is no valid plan: {error}") from None

    def _read_settings(self, content: dict[str, Any]) -> None:
        if (content.get("format"), content.get("version")) != (PLAN_FORMAT, FORMAT_VERSION):
            raise ValueError("it is of another format or version")
        self.threads = _integer(content, "threads", 1, MAX_THREADS)
        self.batch = _integer(content, "batch", 1, MAX_BATCH)
        self.precision = _one_of(content, "precision", PRECISIONS)
        self.spinning = _one_of(content, "spinning", (False, True))
        self.affinity = content.get("affinity")
        if self.affinity is not None and not _are_cores(self.affinity):
            raise ValueError(f"affinity must be a list of cores, but is {self.affinity!r:.80}")
        self.weights_bytes = _integer(content, "weights_bytes", 0, MAX_WEIGHTS_BYTES)
        self.runs = _integer(content, "runs", MIN_RUNS, MAX_RUNS)
        self.min_rounds = _integer(content, "min_rounds", 1, MAX_ROUNDS)
        self.max_rounds = _integer(content, "max_rounds", self.min_rounds, MAX_ROUNDS)
        entries = content.get("entries")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
            raise ValueError(f"entries must be a list of 1..{MAX_ENTRIES}")
        self.entries = [_checked_entry(entry) for entry in entries]
        self.reference = _checked_entry(content.get("reference"))
        if len({entry["key"] for entry in self.entries}) != len(entries):
            raise ValueError("two of its entries have the same key")

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def graph(self, entry: dict[str, Any]) -> bytes:
        """The entry's ONNX graph, without weights.

        Raises:
            ProfileError: the archive lacks it, or it is hostile.
        """
        try:
            graph = self._read(entry["graph"], MAX_GRAPH_BYTES)
            if entry["graph"] not in self._checked:
                check_graph(graph)
                self._checked.add(entry["graph"])
        except ProfileError as error:
            raise ProfileError(f"{self._path} is no valid plan: {error}") from None
        return graph

    def _read(self, name: str, limit: int) -> bytes:
        try:
            member = self._archive.getinfo(name)
            # Other methods can blow up a few bytes to gigabytes before any limit is asked.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is not compressed by deflate")
            with self._archive.open(member) as file:
                content = file.read(limit + 1)
        except _ARCHIVE_ERRORS as error:
            raise ProfileError(f"cannot read {name!r:.80}: {error}") from None
        if len(content) > limit:
            raise ProfileError(f"{name!r:.80} is larger than {limit} bytes")
        return content


def _integer(mapping: dict[str, Any], field: str, low: int, high: int) -> int:
    value = mapping.get(field)
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{field} must be an integer in {low}..{high}, but is {value!r:.80}")
    return value


def _one_of(mapping: dict[str, Any], field: str, allowed: tuple[Any, ...]) -> Any:
    value = mapping.get(field)
    if not any(type(value) is type(option) and value == option for option in allowed):
        raise ValueError(f"{field} must be one of {allowed}, but is {value!r:.80}")
    return value


def _are_cores(value: object) -> bool:
    return (
        isinstance(value, list)
        and 1 <= len(value) <= MAX_CORES
        and all(type(core) is int and 0 <= core < MAX_CORES for core in value)
    )


def _checked_entry(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"an entry must be an object, but is {entry!r:.80}")
    names = [entry.get("key"), entry.get("graph"), entry.get("role", "-"), entry.get("kind", "-")]
    if not _are_names(names + _list(entry.get("parts", [])) + _list(entry.get("boundaries", []))):
        raise ValueError(
            "key, graph, role, kind, parts and boundaries must be names, but the entry is "
            f"{entry!r:.200}"
        )
    _check_parts(entry)
    _integer({"weights_bytes": 0, **entry}, "weights_bytes", 0, MAX_WEIGHTS_BYTES)
    for flag in ("trace", "alone", "company"):
        _one_of({flag: False, **entry}, flag, (False, True))
    shape = entry.get("input_shape")
    if (
        not (isinstance(shape, list) and 1 <= len(shape) <= 8)
        or not all(type(n) is int and 1 <= n <= MAX_INPUT_VALUES for n in shape)
        or math.prod(shape) > MAX_INPUT_VALUES
    ):
        raise ValueError(
            f"input_shape must be 1..8 positive integers of a product up to {MAX_INPUT_VALUES}, "
            f"but is {shape!r:.80}"
        )
    return entry


def _parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object, without the NaN and Infinity that Python's reader takes."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        record = json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(record, dict):
        raise ValueError(f"must be a JSON object, but is {record!r:.80}")
    return record


def check_graph(model: bytes) -> None:
    """Refuse a graph that reads other files than the weights, or that could run for ever.

    onnxruntime 1.22 follows an initialiser's path to any file. The numbers are those of the fields
    in onnx.proto, from ModelProto down.

    Raises:
        ProfileError: it does, or is no graph.
    """
    for what, path in (
        ("functions or training information", ({20, 25},)),
        ("sparse initialisers", ({7}, {15})),
        ("tensors or graphs in attributes", ({7}, {1}, {5}, {5, 6, 10, 11, 22, 23})),
    ):
        if any(True for _ in _find(model, *path)):
            raise ProfileError(f"a graph of the plan holds {what}, which no plan of ours does")
    for pair in _find(model, {7}, {5}, {13}):
        names, values = [*_find(pair, {1})], [*_find(pair, {2})]
        if len(names) != 1 or (names[0] == b"location" and values != [WEIGHTS_FILE.encode()]):
            raise ProfileError(f"a graph of the plan reads {values!r:.80}, not {WEIGHTS_FILE}")


def _find(message: bytes, fields: set[int], *path: set[int]) -> Iterator[bytes]:
    """The contents of a protocol buffer's fields, of those fields' fields, and so on."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind, start = tag & 7, position
        if kind in (0, 2):
            length, start = _varint(message, position)
            position = start + (length if kind == 2 else 0)
        else:
            position += {1: 8, 5: 4}.get(kind, len(message))
        if position > len(message) or tag >= 1 << 32:
            raise ProfileError("a graph of the plan is no ONNX")
        if kind == 2 and tag >> 3 in fields:
            content = message[start:position]
            yield from _find(content, *path) if path else (content,)


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index, byte in enumerate(message[position : position + 10]):
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, position + index + 1
    raise ProfileError("a graph of the plan is no ONNX")


def table_header(plan: Plan, described: dict[str, Any]) -> dict[str, Any]:
    """What a table was measured on and with; a table is only ever added to under an equal one."""
    return {
        "format": TABLE_FORMAT,
        "version": FORMAT_VERSION,
        **described,
        "threads": plan.threads,
        "spinning": plan.spinning,
        "affinity": plan.affinity,
        "batch": plan.batch,
        "precision": plan.precision,
        "reference": plan.reference["key"],
    }


def describe(provider: str = CPU_PROVIDER) -> dict[str, Any]:
    """The device and the runtime that measures: header fields of a table.

    Raises:
        ProfileError: this build of onnxruntime lacks the execution provider.
    """
    if provider not in ort.get_available_providers():
        has = ", ".join(ort.get_available_providers())
        raise ProfileError(
            f"this onnxruntime {ort.__version__} has no {provider:.80}; it has {has}. Give one of "
            "these, or install the build that has it (onnxruntime-gpu for CUDA and TensorRT)"
        )
    return {
        "device": describe_device(),
        "runtime": "onnxruntime",
        "runtime_version": ort.__version__,
        "provider": provider,
    }


def describe_device() -> dict[str, Any]:
    """The machine, as far as it decides latencies and does not change from boot to boot."""
    cpu = ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                cpu = line.partition(":")[2].strip()
                break
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu or platform.processor() or "unknown",
        "cores": os.cpu_count() or 1,
        "governor": Sensors().governor(),
    }


class Sensors:
    """What Linux says of the processor's state, where it says so; None or 0 elsewhere."""

    def __init__(self, root: Path = Path("/sys")) -> None:
        cpus = root / "devices/system/cpu"
        self._governor = cpus / "cpu0/cpufreq/scaling_governor"
        self._frequencies = sorted(cpus.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._throttles = sorted(cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"))
        self._temperatures = sorted((root / "class/thermal").glob("thermal_zone*/temp"))

    def governor(self) -> str | None:
        """The frequency governor: ``performance``, ``powersave``, …"""
        try:
            return self._governor.read_text(encoding="ascii").strip()[:40]
        except (OSError, ValueError):
            return None

    def throttled(self) -> int:
        """How often the processor was slowed down for heat since it was booted."""
        return sum(self._numbers(self._throttles))

    def readings(self) -> dict[str, float]:
        """``mhz``, of the fastest core now, and ``celsius``, of the hottest zone."""
        found = {}
        for name, files in (("mhz", self._frequencies), ("celsius", self._temperatures)):
            _, high = _VISIT_OPTIONAL[name]
            # A sensor that is broken or absent gives zero, or the largest number that it can.
            plausible = [n / 1e3 for n in self._numbers(files) if 0 < n / 1e3 < high]
            if plausible:
                found[name] = max(plausible)
        return found

    @staticmethod
    def _numbers(files: list[Path]) -> list[int]:
        numbers = []
        for file in files:
            with contextlib.suppress(OSError, ValueError):
                numbers.append(int(file.read_text(encoding="ascii")))
        return numbers


@contextlib.contextmanager
def open_table(
    path: Path, header: dict[str, Any]
) -> Iterator[tuple[BinaryIO, list[dict[str, Any]]]]:
    """The table, ready to be appended to, and the visits it holds. A torn last line is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as table:
        _lock(table, path)
        table.seek(0)
        content = read_table(table)
        records = parse_table(path, content)
        if records and records[0] != header:
            differs = difference(records[0], header)
            raise ProfileError(f"{path} was measured otherwise: {differs}; give another --out")
        table.truncate(content.rfind(b"\n") + 1)
        if not records:
            _append_line(table, header)
        yield table, records[1:]


def read_table(table: BinaryIO) -> bytes:
    """A table's content, or of what is larger than a table may be, one byte more than that."""
    # Whoever asks for so many bytes is given memory for so many, however short the file is.
    return table.read(min(MAX_FILE_BYTES, os.fstat(table.fileno()).st_size) + 1)


def parse_table(path: Path, content: bytes) -> list[dict[str, Any]]:
    """A table's header and visits. A torn last line, which a killed run may leave, is left out.

    Raises:
        ProfileError: it is no table, or a line elsewhere is damaged or repeats another.
    """
    whole, start = content[: content.rfind(b"\n") + 1], json.dumps({"format": TABLE_FORMAT})[:-1]
    if len(content) > MAX_FILE_BYTES:
        raise ProfileError(f"{path} is no latency table: larger than {MAX_FILE_BYTES} bytes")
    # What is only the beginning of a header may be overwritten; anything else is somebody's file.
    if not whole and content[: len(start)] != start.encode()[: len(content)]:
        raise ProfileError(f"{path} is no latency table; give another file")
    records: list[dict[str, Any]] = []
    seen: dict[tuple[str, float], int] = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            record = _parse_json(line)
            if number == 1:
                if (record.get("format"), record.get("version")) != (TABLE_FORMAT, FORMAT_VERSION):
                    raise ValueError("no header of a latency table of this version")
            else:
                visit = check_visit(record)
                if seen.setdefault(visit, number) != number:
                    raise ValueError(f"repeats line {seen[visit]}")
        except ValueError as error:
            hint = "delete the line to measure it again"
            if number == 1:
                hint = "this is no latency table, give another file"
            raise ProfileError(f"{path}, line {number}: {error}; {hint}") from None
        records.append(record)
    return records


_VISIT_NUMBERS = {
    "latency_ms": PLAUSIBLE_MS,
    "median_ms": PLAUSIBLE_MS,
    "reference_ms": PLAUSIBLE_MS,
    "runs": (1, MAX_RUNS),
    "at_s": (0.0, 1e11),
}
_VISIT_OPTIONAL = {
    "mhz": (0.0, 1e6),
    "celsius": (0.0, 1e3),
    "throttled": (0, 1e9),
}


def check_visit(record: dict[str, Any]) -> tuple[str, float]:
    """What tells a visit from all others: its entry's key and its time.

    Raises:
        ValueError: a field is missing, unknown or impossible.
    """
    key, role = record.get("key"), record.get("role", "-")
    if not isinstance(key, str) or not key or not isinstance(role, str):
        raise ValueError(f"key and role must be names, but are {key!r:.80} and {role!r:.80}")
    for name, (low, high) in {**_VISIT_NUMBERS, **_VISIT_OPTIONAL}.items():
        if name in _VISIT_OPTIONAL and name not in record:
            continue
        value = record.get(name)
        # A bool is an int to Python, but no latency.
        if not isinstance(value, int | float) or type(value) is bool or not low <= value <= high:
            raise ValueError(f"{name} must be a number in {low:g}..{high:g}, but is {value!r:.40}")
    parts, boundaries = record.get("parts", []), record.get("boundaries", [])
    if not _are_names(parts) or not _are_names(boundaries):
        raise ValueError("parts and boundaries must be lists of keys")
    _check_parts(record)
    if not all(_is_op(op) for op in _list(record.get("ops", []))):
        raise ValueError("ops must be a list of [node, operator, milliseconds]")
    known = {"key", "role", "parts", "boundaries", "ops", *_VISIT_NUMBERS, *_VISIT_OPTIONAL}
    if unknown := sorted(record.keys() - known):
        raise ValueError(f"has the unknown field {unknown[0]!r:.40}")
    return key, record["at_s"]


def _check_parts(record: dict[str, Any]) -> None:
    """Only a whole network has a role, parts, and a boundary between every two of them."""
    parts, boundaries = len(record.get("parts", [])), len(record.get("boundaries", []))
    if (parts or boundaries or "role" in record) and parts != boundaries + 1:
        raise ValueError(
            f"a whole network must have one part more than boundaries, but {record['key']!r:.80} "
            f"has {parts} parts and {boundaries} boundaries"
        )


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _is_op(op: object) -> bool:
    return (
        isinstance(op, list)
        and [type(item) for item in op] == [str, str, float]
        and 0.0 <= op[2] <= PLAUSIBLE_MS[1]
    )


def _lock(table: BinaryIO, path: Path) -> None:
    """Keep other processes out. One whose starter was killed takes a moment to notice and stop."""
    deadline = time.monotonic() + LOCK_SECONDS
    while fcntl is not None:
        try:
            return fcntl.flock(table, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ProfileError(f"{path} is being written by another process") from None
        time.sleep(0.1)
    return None


def _append_line(table: BinaryIO, record: dict[str, Any]) -> None:
    table.write(json.dumps(record, allow_nan=False).encode() + b"\n")
    table.flush()


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """What two headers disagree on, as text."""
    fields = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    return "; ".join(
        f"{_printable(name)} is {theirs.get(name)!r:.120} there and {ours.get(name)!r:.120} here"
        for name in fields[:4]
    )


def _printable(name: str) -> str:
    """The name of a field that anybody may have written, without quotes."""
    return repr(name)[1:-1][:40]


class OrtBench:
    """Times graphs with onnxruntime, in turns with the plan's reference network."""

    def __init__(self, plan: Plan, folder: Path, provider: str = CPU_PROVIDER) -> None:
        self.seconds_in_runs = 0.0
        self._plan = plan
        self._provider = provider
        self._folder = folder
        self._random = np.random.default_rng(0)
        self._sensors = Sensors()
        if plan.affinity is not None:
            pin(plan.affinity)

    def describe(self) -> dict[str, Any]:
        return describe(self._provider)

    def warm_up(self) -> None:
        memory = ort.OrtMemoryInfo(
            "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
        )
        ort.create_and_register_allocator(memory, None)
        with (self._folder / WEIGHTS_FILE).open("wb") as file:
            for _ in range(0, self._plan.weights_bytes, WEIGHTS_CHUNK_BYTES):
                values = self._random.random(WEIGHTS_CHUNK_BYTES // 4, np.float32)
                file.write((values * np.float32(0.2) - np.float32(0.1)).tobytes())
        with _failures_of(self._plan.reference):
            self._reference = self._runner(self._plan.reference)
            for _ in range(self._plan.runs):
                self._timed(self._reference)

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """A sitting, repeated where the processor was slowed down for heat meanwhile."""
        for attempt in range(THROTTLE_TRIES):
            before = self._sensors.throttled()
            lines = self._sit(entries)
            throttled = self._sensors.throttled() - before
            if throttled <= 0:  # the count falls where a core is switched off
                return lines
            time.sleep(THROTTLE_PAUSE_SECONDS * 2**attempt)
        return [{**line, "throttled": throttled} for line in lines]

    def _sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        turns = turns_of(entries, self._plan.runs, self._random)
        seconds: list[float] = []
        gc.disable()
        try:
            runs = [self._run_of(entry) for entry in entries]
            for turn in turns:
                with _failures_of(self._plan.reference if turn < 0 else entries[turn]):
                    seconds.append(self._timed(self._reference if turn < 0 else runs[turn]))
            traces = [{"ops": self._trace(e)} if e.get("trace") else {} for e in entries]
        finally:
            gc.enable()
        lines = visit_lines(entries, turns, seconds)
        readings = self._sensors.readings()
        return [line | trace | readings for line, trace in zip(lines, traces, strict=True)]

    def _run_of(self, entry: dict[str, Any]) -> Callable[[], object]:
        with _failures_of(entry):
            return self._runner(entry)

    def _timed(self, run: Callable[[], object]) -> float:
        """The seconds of one run."""
        started = time.perf_counter_ns()
        run()
        seconds = max(1, time.perf_counter_ns() - started) * 1e-9
        self.seconds_in_runs += seconds
        return seconds

    def _runner(
        self, entry: dict[str, Any], options: "ort.SessionOptions | None" = None
    ) -> Callable[[], object]:
        return self._session(entry, options or self._options())[1]

    def _session(
        self, entry: dict[str, Any], options: "ort.SessionOptions"
    ) -> "tuple[ort.InferenceSession, Callable[[], object]]":
        path = self._folder / "graph.onnx"
        path.write_bytes(self._plan.graph(entry))
        session = ort.InferenceSession(path, options, providers=[self._provider])
        given = session.get_inputs()[0]
        image = self._random.random(entry["input_shape"], np.float32)
        if given.type == "tensor(uint8)":  # pixels, where the graph prepares them itself
            image = (255 * image).astype(np.uint8)
        feed = {given.name: image}
        run: Callable[[], object] = lambda: session.run(None, feed)  # noqa: E731
        self._timed(run)  # the first run allocates
        return session, run

    def _options(self) -> "ort.SessionOptions":
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._plan.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # One arena for all sessions: what a graph computes lies where the reference computed, in
        # memory that is as warm as that of the layers before it. Only its weights are cold.
        options.add_session_config_entry("session.use_env_allocators", "1")
        # A pool that spins while the other session runs would take its core.
        spinning = "1" if self._plan.spinning else "0"
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        return options

    def _trace(self, entry: dict[str, Any]) -> list[list[Any]]:
        """``[node, operator, milliseconds]`` of every node that the runtime runs, in order."""
        options = self._options()
        options.enable_profiling = True
        options.profile_file_prefix = str(self._folder / "trace")
        session, run = self._session(entry, options)
        with _failures_of(entry):
            for _ in range(TRACE_RUNS):
                self._timed(self._reference)
                self._timed(run)
        file = Path(session.end_profiling())
        events = json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
        kernels: dict[tuple[str, str], list[float]] = {}
        for event in events:
            name = str(event.get("name", ""))
            if event.get("cat") == "Node" and name.endswith("_kernel_time"):
                node = name.removesuffix("_kernel_time"), str(event["args"]["op_name"])
                kernels.setdefault(node, []).append(event["dur"])
        return [[*node, 1e-3 * undisturbed(times)] for node, times in kernels.items()]


_COPIED = ("role", "parts", "boundaries")


def turns_of(entries: Sequence[dict[str, Any]], runs: int, rng: np.random.Generator) -> list[int]:
    """Whose turn it is, run by run: an entry's place in the sitting, or ``REFERENCE``.

    In each of ``runs`` cycles the reference comes first, then every entry, in random order but that
    those of a kind follow each other: in a network too a block comes after others like it, and
    finds their code in the cache. The runs of an entry that is timed alone follow each other: it
    has its weights in the cache, where no network has them.
    """
    if entries[0].get("alone"):
        return [REFERENCE, *[0] * runs, REFERENCE]
    kinds: dict[object, list[int]] = {}
    for index, entry in enumerate(entries):
        kinds.setdefault(entry.get("kind", index), []).append(index)
    places = list(kinds.values())
    turns: list[int] = []
    for _ in range(runs):
        turns.append(REFERENCE)
        for place in rng.permutation(len(places)):
            turns += rng.permutation(places[place]).tolist()
    return turns


def visit_lines(
    entries: Sequence[dict[str, Any]], turns: Sequence[int], seconds: Sequence[float]
) -> list[dict[str, Any]]:
    """The lines of a sitting, of the seconds that each turn took."""
    took: dict[int, list[float]] = {}
    for turn, value in zip(turns, seconds, strict=True):
        took.setdefault(turn, []).append(value)
    reference_ms, at_s = 1e3 * undisturbed(took[REFERENCE]), round(time.time(), 3)
    return [
        {
            "key": entry["key"],
            "latency_ms": 1e3 * undisturbed(took[index]),
            "median_ms": 1e3 * median(took[index]),
            "runs": len(took[index]),
            "reference_ms": reference_ms,
            "at_s": at_s,
            **{name: entry[name] for name in _COPIED if name in entry},
        }
        for index, entry in enumerate(entries)
    ]


def undisturbed(values: Sequence[float]) -> float:
    """What a run takes where little else happens: the mean of the fastest third."""
    return fmean(sorted(values)[: max(1, round(len(values) / 3))])


def pin(cores: list[int]) -> None:
    """Keep this process on some cores; ``ProfileError`` where that cannot be."""
    if not hasattr(os, "sched_setaffinity"):
        raise ProfileError(f"{platform.system()} cannot pin a process to cores; plan without")
    try:
        os.sched_setaffinity(0, cores)
    except (OSError, ValueError) as error:
        raise ProfileError(f"cannot pin this process to the cores {cores}: {error}") from None


@contextlib.contextmanager
def _failures_of(entry: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (ProfileError, OSError):
        raise
    except Exception as error:
        # onnxruntime's exceptions share no base class but Exception.
        raise ProfileError(f"cannot run {entry['key']!r:.120}: {error!r:.300}") from None


def _stop_once(*_: object) -> None:
    """End as Ctrl-C does; a second signal shall not interrupt the removal of temporary files."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, _stop_once)
    sys.exit(main())
