"""Measure a plan on this device. Stands alone: Python, numpy and onnxruntime, nothing else.

    python latency/profile.py PLAN --out TABLE

The machine drifts while a table is measured (other tenants, turbo, heat), so every burst of an
entry is bracketed by bursts of one fixed reference block and stored as a ratio to it. The table is
append-only JSON Lines: a header, then a line an entry. Run again, it goes on where it stopped; a
killed run loses the entry in flight and nothing else. Neither plan nor table is trusted.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any, BinaryIO

import numpy as np
import onnxruntime as ort

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

PLAN_FORMAT = "chronas-plan"
TABLE_FORMAT = "chronas-latency-table"
FORMAT_VERSION = 1
WEIGHTS_FILE = "weights.bin"
PROVIDER = "CPUExecutionProvider"
PRECISION = "fp32"

MAX_FILE_BYTES = 256 << 20
MAX_GRAPH_BYTES = 256 << 20
MAX_WEIGHTS_BYTES = 1 << 30
MAX_INPUT_VALUES = 1 << 28
MAX_ENTRIES = 1_000_000
MAX_THREADS = MAX_BATCH = 1024
MIN_ROUNDS, MAX_ROUNDS = 2, 1000

WARM_UP_RUNS = 2
MIN_BURST_RUNS, MAX_BURST_RUNS = 3, 20
BURST_SECONDS = 0.0015
INTERVAL_GOAL = 0.01
"""An entry is done once the 95 % interval of its ratio is within ±1 %, or at the most rounds."""

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
    parser.add_argument("plan", type=Path, help="plan file, made by `python -m latency.plan`")
    parser.add_argument("--out", type=Path, required=True, help="table to write, or to go on with")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    options = parser.parse_args(arguments)
    say: Callable[[str], None] = (lambda _: None) if options.quiet else _print_now
    try:
        profile(options.plan, options.out, say)
    except (ProfileError, OSError) as error:
        print(f"profile.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        say(f"stopped; what is measured is in {options.out}; run again to go on")
        return 130
    return 0


def _print_now(text: str) -> None:
    print(text, flush=True)


def profile(plan_path: Path, table_path: Path, say: Callable[[str], None]) -> None:
    """Measure what the plan asks for and the table lacks.

    Raises:
        ProfileError: plan or table is torn, hostile, or of another device or other settings.
        OSError: the table cannot be written.
    """
    with Plan(plan_path) as plan, open_table(table_path, table_header(plan)) as (table, done):
        missing = [entry for entry in plan.entries if entry["key"] not in done]
        random.Random(0).shuffle(missing)  # noqa: S311
        if not missing:
            return say(f"nothing to measure: all {len(plan.entries)} entries are in {table_path}")
        with (
            tempfile.TemporaryDirectory(prefix="chronas-") as folder,
            heartbeat(len(missing), say) as count,
        ):
            bench = Bench(plan, Path(folder))
            for entry in missing:
                _append_line(table, bench.measure(entry))
                count()
    return None


@contextlib.contextmanager
def heartbeat(total: int, say: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Says how far the measurement is every other second, however long one run takes.

    Yields what counts an entry as done. It raises OSError where nobody listens any more, because
    whoever started this is gone: the measurement is to stop then.
    """
    done, started, failures = 0, time.monotonic(), list[OSError]()
    stopped = threading.Event()

    def report() -> None:
        left = (time.monotonic() - started) / max(1, done) * (total - done)
        say(f"measured {done}/{total} entries" + (f", {left:.0f} s left" if done else ""))

    def beat() -> None:
        try:
            while not stopped.wait(HEARTBEAT_SECONDS):
                report()
        except OSError as error:
            failures.append(error)

    def count() -> None:
        nonlocal done
        done += 1
        if failures:
            raise failures[0]

    report()
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield count
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
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")
            self._archive = zipfile.ZipFile(path)
        except _ARCHIVE_ERRORS as error:
            hint = "`python -m latency.plan` makes one"
            raise ProfileError(f"{path} is no plan: {error}; {hint}") from None
        try:
            self._read_settings(_parse_json(self._read("plan.json", MAX_FILE_BYTES)))
        except (ProfileError, ValueError) as error:
            self._archive.close()
            raise ProfileError(f"{path} is no valid plan: {error}") from None

    def _read_settings(self, content: dict[str, Any]) -> None:
        if (content.get("format"), content.get("version")) != (PLAN_FORMAT, FORMAT_VERSION):
            raise ValueError("it is of another format or version")
        self.threads = _integer(content, "threads", 1, MAX_THREADS)
        self.batch = _integer(content, "batch", 1, MAX_BATCH)
        self.weights_bytes = _integer(content, "weights_bytes", 0, MAX_WEIGHTS_BYTES)
        self.min_rounds = _integer(content, "min_rounds", MIN_ROUNDS, MAX_ROUNDS)
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
        """The entry's ONNX graph, without weights."""
        graph = self._read(entry["graph"], MAX_GRAPH_BYTES)
        check_graph(graph)
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


def _checked_entry(entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"an entry must be an object, but is {entry!r:.80}")
    names, parts = [entry.get("key"), entry.get("graph")], entry.get("parts", [])
    if not isinstance(parts, list) or not all(isinstance(n, str) and n for n in names + parts):
        raise ValueError(f"key, graph and parts must be names, but the entry is {entry!r:.200}")
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


def table_header(plan: Plan) -> dict[str, Any]:
    """What a table was measured on and with; a table is only ever added to under an equal one."""
    return {
        "format": TABLE_FORMAT,
        "version": FORMAT_VERSION,
        "device": describe_device(),
        "runtime": "onnxruntime",
        "runtime_version": ort.__version__,
        "provider": PROVIDER,
        "threads": plan.threads,
        "batch": plan.batch,
        "precision": PRECISION,
        "reference": plan.reference["key"],
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
    }


@contextlib.contextmanager
def open_table(path: Path, header: dict[str, Any]) -> Iterator[tuple[BinaryIO, set[str]]]:
    """The table, ready to be appended to, and the keys it holds. A torn last line is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as table:
        _lock(table, path)
        table.seek(0)
        content = table.read(MAX_FILE_BYTES + 1)
        records = parse_table(path, content)
        if records and records[0] != header:
            differs = difference(records[0], header)
            raise ProfileError(f"{path} was measured otherwise: {differs}; give another --out")
        table.truncate(content.rfind(b"\n") + 1)
        if not records:
            _append_line(table, header)
        yield table, {record["key"] for record in records[1:]}


def parse_table(path: Path, content: bytes) -> list[dict[str, Any]]:
    """A table's header and entries. A torn last line, which a killed run may leave, is left out.

    Raises:
        ProfileError: it is no table, or a line elsewhere is damaged or repeats another's key.
    """
    whole, start = content[: content.rfind(b"\n") + 1], json.dumps({"format": TABLE_FORMAT})[:-1]
    if len(content) > MAX_FILE_BYTES:
        raise ProfileError(f"{path} is no latency table: larger than {MAX_FILE_BYTES} bytes")
    # What is only the beginning of a header may be overwritten; anything else is somebody's file.
    if not whole and content[: len(start)] != start.encode()[: len(content)]:
        raise ProfileError(f"{path} is no latency table; give another file")
    records: list[dict[str, Any]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
        try:
            record = _parse_json(line)
            key = record.get("key")
            if number == 1:
                if (record.get("format"), record.get("version")) != (TABLE_FORMAT, FORMAT_VERSION):
                    raise ValueError("no header of a latency table of this version")
            elif not isinstance(key, str) or not key:
                raise ValueError(f"key must be a name, but is {key!r:.80}")
            elif seen.setdefault(key, number) != number:
                raise ValueError(f"repeats line {seen[key]}")
        except ValueError as error:
            hint = "delete the line to measure it again"
            if number == 1:
                hint = "this is no latency table, give another file"
            raise ProfileError(f"{path}, line {number}: {error}; {hint}") from None
        records.append(record)
    return records


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
        f"{name:.40} is {theirs.get(name)!r:.120} there and {ours.get(name)!r:.120} here"
        for name in fields[:4]
    )


class Bench:
    """Times graphs beside the plan's reference block."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._random = np.random.default_rng(0)
        with (folder / WEIGHTS_FILE).open("wb") as file:
            for _ in range(0, plan.weights_bytes, WEIGHTS_CHUNK_BYTES):
                values = self._random.random(WEIGHTS_CHUNK_BYTES // 4, np.float32)
                file.write((values * np.float32(0.2) - np.float32(0.1)).tobytes())
        with _failures_of(plan.reference):
            self._reference = self._runner(plan.reference)
            self._reference_runs = self._burst_runs(self._reference)

    def measure(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry's line for the table: its latency as a ratio to the reference, with spread."""
        ratios: list[float] = []
        latencies: list[float] = []
        gc.disable()
        try:
            with _failures_of(entry):
                run = self._runner(entry)
                runs = self._burst_runs(run)
                references = [_burst(self._reference, self._reference_runs)]
                while not self._enough(ratios):
                    latencies.append(_burst(run, runs))
                    references.append(_burst(self._reference, self._reference_runs))
                    ratios.append(2 * latencies[-1] / (references[-2] + references[-1]))
        finally:
            gc.enable()
        return {
            "key": entry["key"],
            "ratio": median(ratios),
            "interval": _interval(ratios),
            "rounds": len(ratios),
            "latency_ms": 1e3 * median(latencies),
            "reference_ms": 1e3 * median(references),
            **({"parts": entry["parts"]} if "parts" in entry else {}),
        }

    def _runner(self, entry: dict[str, Any]) -> Callable[[], object]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._plan.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # A pool that spins while the other session runs would take its core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self._folder / "graph.onnx"
        path.write_bytes(self._plan.graph(entry))
        session = ort.InferenceSession(path, options, providers=[PROVIDER])
        image = self._random.random(entry["input_shape"], np.float32)
        feed = {session.get_inputs()[0].name: image}
        run: Callable[[], object] = lambda: session.run(None, feed)  # noqa: E731
        run()
        return run

    def _enough(self, ratios: list[float]) -> bool:
        if len(ratios) < self._plan.min_rounds:
            return False
        return len(ratios) >= self._plan.max_rounds or _interval(ratios) <= INTERVAL_GOAL

    @staticmethod
    def _burst_runs(run: Callable[[], object]) -> int:
        seconds = min(_burst(run, 1) for _ in range(WARM_UP_RUNS))
        return max(MIN_BURST_RUNS, min(MAX_BURST_RUNS, round(BURST_SECONDS / seconds)))


@contextlib.contextmanager
def _failures_of(entry: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    except (ProfileError, OSError):
        raise
    except Exception as error:
        # onnxruntime's exceptions share no base class but Exception.
        raise ProfileError(f"cannot run {entry['key']!r:.120}: {error!r:.300}") from None


def _burst(run: Callable[[], object], runs: int) -> float:
    """The median seconds of ``runs`` successive runs."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        run()
        seconds.append(max(1, time.perf_counter_ns() - started))
    return median(seconds) * 1e-9


def _interval(ratios: list[float]) -> float:
    """Half the 95 % interval of the median, relative to it (McGill et al., 1978)."""
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return float(1.57 * (high - low) / (len(ratios) ** 0.5 * median(ratios)))


def _stop_once(*_: object) -> None:
    """End as Ctrl-C does; a second signal shall not interrupt the removal of temporary files."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, _stop_once)
    sys.exit(main())
