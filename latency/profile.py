"""Measure a plan on this device. Stands alone: Python, numpy and onnxruntime, nothing else.

    python latency/profile.py PLAN --out TABLE

The machine drifts while a table is measured (other tenants, turbo, heat), so every burst of an
entry is bracketed by bursts of one fixed reference block and stored as a ratio to it. The table is
append-only JSON Lines: a header, then a line an entry. Run again, it goes on where it stopped; a
killed run loses the entry in flight and nothing else.
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
import platform
import random
import tempfile
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

MAX_JSON_BYTES = 64 << 20
MAX_GRAPH_BYTES = 512 << 20
MAX_WEIGHTS_BYTES = 1 << 30
MAX_INPUT_VALUES = 1 << 28
MAX_ENTRIES = 1_000_000

WARM_UP_RUNS = 2
MIN_BURST_RUNS, MAX_BURST_RUNS = 3, 20
BURST_SECONDS = 0.002
INTERVAL_GOAL = 0.01
"""An entry is done once the 95 % interval of its ratio is within ±1 %, or at the most rounds."""


class ProfileError(Exception):
    """Something the person who runs this can mend; shown as one line."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure a chronas plan on this device.")
    parser.add_argument("plan", type=Path, help="plan file, made by `python -m latency.plan`")
    parser.add_argument("--out", type=Path, required=True, help="table to write, or to go on with")
    parser.add_argument("--quiet", action="store_true", help="print no progress")
    options = parser.parse_args(arguments)
    say: Callable[[str], None] = (lambda _: None) if options.quiet else _print_now
    try:
        profile(options.plan, options.out, say)
    except (ProfileError, OSError) as error:
        print(f"profile.py: {error}", file=sys.stderr)
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
        with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
            bench = Bench(plan, Path(folder))
            started = shown = time.monotonic()
            for count, entry in enumerate(missing, start=1):
                _append_line(table, bench.measure(entry))
                now = time.monotonic()
                if now - shown > 2 or count == len(missing):
                    shown = now
                    left = (now - started) / count * (len(missing) - count)
                    say(f"measured {count}/{len(missing)} entries, {left:.0f} s left")
    return None


class Plan:
    """A plan file: a zip archive of ``plan.json`` and ONNX graphs. Nothing in it is trusted.

    Members are read into memory by name and never unpacked under a name of the archive's choosing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise ProfileError(f"{path} is no plan file: {error}") from None
        try:
            content = json.loads(self._read("plan.json", MAX_JSON_BYTES))
            if (content["format"], content["version"]) != (PLAN_FORMAT, FORMAT_VERSION):
                raise ValueError("it is of another format or version")
            self.threads = _integer(content, "threads", 1, 1024)
            self.batch = _integer(content, "batch", 1, 65_536)
            self.weights_bytes = _integer(content, "weights_bytes", 0, MAX_WEIGHTS_BYTES)
            self.min_rounds = _integer(content, "min_rounds", 2, 10_000)
            self.max_rounds = _integer(content, "max_rounds", self.min_rounds, 10_000)
            if not 1 <= len(content["entries"]) <= MAX_ENTRIES:
                raise ValueError(f"entries must number 1..{MAX_ENTRIES}")
            self.entries = [_checked_entry(entry) for entry in content["entries"]]
            self.reference = _checked_entry(content["reference"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._archive.close()
            raise ProfileError(f"{path} is no valid plan: {error!r:.200}") from None

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def graph(self, entry: dict[str, Any]) -> bytes:
        """The entry's ONNX graph, without weights."""
        return self._read(entry["graph"], MAX_GRAPH_BYTES)

    def _read(self, name: str, limit: int) -> bytes:
        try:
            with self._archive.open(name) as file:
                content = file.read(limit + 1)
        except (KeyError, OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile,
                zlib.error) as error:  # fmt: skip
            raise ProfileError(f"{self._path}: cannot read {name!r:.80}: {error}") from None
        if len(content) > limit:
            raise ProfileError(f"{self._path}: {name!r:.80} is larger than {limit} bytes")
        return content


def _integer(mapping: dict[str, Any], field: str, low: int, high: int) -> int:
    value = mapping[field]
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{field} must be an integer in {low}..{high}, but is {value!r:.80}")
    return value


def _checked_entry(entry: dict[str, Any]) -> dict[str, Any]:
    key, graph, shape = entry["key"], entry["graph"], entry["input_shape"]
    parts = entry.get("parts")
    if not isinstance(key, str) or not key or len(key) > 10_000 or not isinstance(graph, str):
        raise ValueError(f"an entry needs a key and a graph, but is {entry!r:.120}")
    if not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape):
        raise ValueError(f"input_shape must be positive integers, but is {shape!r:.80}")
    if np.prod([float(n) for n in shape]) > MAX_INPUT_VALUES:
        raise ValueError(f"input_shape {shape!r:.80} has more than {MAX_INPUT_VALUES} values")
    if parts is not None and not all(isinstance(part, str) for part in parts):
        raise ValueError(f"parts must be keys, but is {parts!r:.80}")
    return entry


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
        "precision": "fp32",
        "reference": plan.reference["key"],
    }


def describe_device() -> dict[str, Any]:
    """The machine, as far as it decides latencies and does not change from boot to boot."""
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                cpu = line.partition(":")[2].strip()
                break
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": cpu or "unknown",
        "cores": os.cpu_count() or 1,
    }


@contextlib.contextmanager
def open_table(path: Path, header: dict[str, Any]) -> Iterator[tuple[BinaryIO, set[str]]]:
    """The table, ready to be appended to, and the keys it holds. A torn last line is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as table:
        _lock(table, path)
        table.seek(0)
        content = table.read()
        whole = content[: content.rfind(b"\n") + 1]
        table.truncate(len(whole))
        lines = whole.splitlines()
        records = [_parse_line(path, number, line) for number, line in enumerate(lines, start=1)]
        if not records:
            _append_line(table, header)
        elif records[0] != header:
            raise ProfileError(f"{path} was measured otherwise: {difference(records[0], header)}")
        yield table, {record["key"] for record in records[1:] if "key" in record}


def _lock(table: BinaryIO, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(table, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ProfileError(f"{path} is being written by another process; wait for it") from None


def _parse_line(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if not isinstance(record, dict):
            raise TypeError("not a JSON object")
    except (ValueError, TypeError, RecursionError) as error:
        raise ProfileError(f"{path}, line {number}, is damaged: {error}") from None
    return record


def _append_line(table: BinaryIO, record: dict[str, Any]) -> None:
    table.write(json.dumps(record, allow_nan=False).encode() + b"\n")
    table.flush()


def difference(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    """What two headers disagree on, as text."""
    fields = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    return "; ".join(
        f"{name} is {theirs.get(name)!r:.120} there and {ours.get(name)!r:.120} here"
        for name in fields
    )


class Bench:
    """Times graphs beside the plan's reference block."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        self._random = np.random.default_rng(0)
        values = self._random.random(-(-plan.weights_bytes // 4), np.float32)
        (values * np.float32(0.2) - np.float32(0.1)).tofile(folder / WEIGHTS_FILE)
        self._reference = self._runner(plan.reference)
        self._reference_runs = self._burst_runs(self._reference)

    def measure(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The entry's line for the table: its latency as a ratio to the reference, with spread."""
        run = self._runner(entry)
        runs = self._burst_runs(run)
        ratios: list[float] = []
        latencies: list[float] = []
        gc.disable()
        try:
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
        options.log_severity_level = 3
        # A pool that spins while the other session runs would take its core.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self._folder / "graph.onnx"
        path.write_bytes(self._plan.graph(entry))
        try:
            session = ort.InferenceSession(path, options, providers=[PROVIDER])
            image = self._random.random(entry["input_shape"], np.float32)
            feed = {session.get_inputs()[0].name: image}
            run: Callable[[], object] = lambda: session.run(None, feed)  # noqa: E731
            run()
        except Exception as error:
            # onnxruntime's exceptions share no base class but Exception.
            raise ProfileError(f"cannot run {entry['key']!r:.120}: {error!r:.300}") from None
        return run

    def _enough(self, ratios: list[float]) -> bool:
        if len(ratios) < self._plan.min_rounds:
            return False
        return len(ratios) >= self._plan.max_rounds or _interval(ratios) <= INTERVAL_GOAL

    @staticmethod
    def _burst_runs(run: Callable[[], object]) -> int:
        seconds = min(_burst(run, 1) for _ in range(WARM_UP_RUNS))
        return max(MIN_BURST_RUNS, min(MAX_BURST_RUNS, round(BURST_SECONDS / seconds)))


def _burst(run: Callable[[], object], runs: int) -> float:
    """The median seconds of ``runs`` successive runs."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter_ns()
        run()
        seconds.append(time.perf_counter_ns() - started)
    return median(seconds) * 1e-9


def _interval(ratios: list[float]) -> float:
    """Half the 95 % interval of the median, relative to it (McGill et al., 1978)."""
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return float(1.57 * (high - low) / (len(ratios) ** 0.5 * median(ratios)))


if __name__ == "__main__":
    sys.exit(main())
