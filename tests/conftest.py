"""What every test shares: one thread, repeatable randomness, a small space, tables made by hand,
torchvision mended."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

from benchmarks.peers import define_torchvision_operators
from latency.console import Update
from latency.context import After
from latency.keys import block_key, boundary_key, network_key
from latency.plan import reference_network, steps_of
from latency.profile import FORMAT_VERSION, TABLE_FORMAT, Plan, open_table, table_header
from latency.reach import Step
from latency.table import LatencyTable, aggregate
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual, Skip
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.spaces import Choice, Choices, SearchSpace, Stage
from tests.chromium import Chromium, running_chromium
from tests.postgres import Postgres, running_postgres
from tests.ssh_server import Login, running_ssh_server

# The tensors are small: a second thread costs more than it brings, most of all on a busy machine.
torch.set_num_threads(1)

# The same examples in every run, and no database beside the code.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


define_torchvision_operators()


@pytest.fixture(autouse=True)
def _fixed_random_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server. A test that stops it starts it again."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """A real browser."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def ssh_login() -> Iterator[Login]:
    """A real ssh server, and who can log in."""
    with running_ssh_server() as login:
        yield login


@pytest.fixture(scope="session")
def small_space() -> SearchSpace:
    """Two stages of one layer, 2 × 2 × 2 choices each; without a skip where the width changes."""
    return _space("small", {"kernel": (3, 5), "width": (8, 16), "skip": (False, True)})


@pytest.fixture(scope="session")
def wider_space() -> SearchSpace:
    """Of 81 networks, all different: enough for a table to be fitted on and validated with."""
    return _space("wider", {"kernel": (3, 5, 7), "width": (8, 16, 24), "skip": (False,)})


def _space(name: str, options: Mapping[str, tuple[Choice, ...]]) -> SearchSpace:
    stem = ConvNormAct(out_channels=8, kernel=3, stride=2)
    head = ClassifierHead(num_classes=10)
    base = {option: values[0] for option, values in options.items()}
    stages = tuple(
        Stage(name=stage, options=options, base=base, layers=_small_layers)
        for stage in ("first", "second")
    )
    return SearchSpace(name=name, stem=(stem,), stages=stages, head=(head,), resolution=16)


def _small_layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    has_skip = values["skip"] and values["width"] == input_channels
    block = InvertedResidual(
        expanded_channels=2 * input_channels,
        out_channels=int(values["width"]),
        kernel=int(values["kernel"]),
        skip=Skip.IDENTITY if has_skip else Skip.NONE,
    )
    return (block,)


Record = dict[str, Any]


@pytest.fixture(scope="session")
def make_visit() -> Callable[..., Record]:
    """``make_visit("a", 2.0, at_s=3.0)``: a table's line, by default of a machine without drift."""
    return _visit


def _visit(key: str, latency_ms: float, at_s: float = 0.0, **fields: Any) -> Record:
    figures = {"latency_ms": latency_ms, "median_ms": 1.02 * latency_ms, "reference_ms": 1.0}
    return {"key": key, **figures, "runs": 12, "at_s": at_s, **fields}


@pytest.fixture(scope="session")
def make_header() -> Callable[..., Record]:
    """``make_header(threads=4)``: a table's first line."""
    return _header


def _header(**fields: Any) -> Record:
    return {
        "format": TABLE_FORMAT,
        "version": FORMAT_VERSION,
        "device": {"system": "Linux", "machine": "x86_64", "cpu": "a <fast> CPU", "cores": 2},
        "runtime": "onnxruntime",
        "runtime_version": "1.22.0",
        "provider": "CPUExecutionProvider",
        "threads": 1,
        "spinning": False,
        "affinity": None,
        "batch": 1,
        "precision": "fp32",
        "reference": network_key(reference_network()),
        **fields,
    }


@pytest.fixture(scope="session")
def make_table() -> Callable[..., LatencyTable]:
    """``make_table({"a": 2.0}, threads=4)``: entries of three equal visits; header fields."""
    return _table


def _table(
    latencies_ms: Mapping[str, float], source: str = "table.jsonl", **header: Any
) -> LatencyTable:
    visits = [_visit(key, ms, at) for at in (0.0, 1.0, 2.0) for key, ms in latencies_ms.items()]
    return LatencyTable(_header(**header), aggregate(visits), source)


class FakeDevice:
    """Runs plans without a clock: 1 ms a block, 0.25 ms a boundary, 2 ms a network, or ``cost_ms``.

    As ``profile.py`` does, it visits whole networks twice as often.

    Attributes:
        asked: of every plan, the keys that were measured, once or more.
    """

    name = "fake"
    is_live = True

    def __init__(
        self,
        cost_ms: Callable[[Record], float] | None = None,
        slowness: float = 1.0,
        **described: Any,
    ) -> None:
        self.asked: list[set[str]] = []
        self._slowness = slowness
        self._cost_ms = cost_ms or _usual_cost_ms
        self._described = described

    @staticmethod
    def _rounds(plan: Plan, entry: Record) -> int:
        return plan.min_rounds * (2 if "parts" in entry else 1)

    def describe(self) -> Record:
        header = _header(**self._described)
        return {name: header[name] for name in ("device", "runtime", "runtime_version", "provider")}

    def measure(self, plan: Path, table: Path, on_progress: Callable[[int, int], None]) -> None:
        with Plan(plan) as content:
            header = table_header(content, self.describe())
            with open_table(table, header) as (file, records):
                held = Counter(record["key"] for record in records)
                missing = [
                    (number, entry)
                    for entry in content.entries
                    for number in range(held[entry["key"]], self._rounds(content, entry))
                ]
                for number, entry in missing:
                    fields = {n: entry[n] for n in ("role", "parts", "boundaries") if n in entry}
                    latency_ms = self._slowness * self._cost_ms(entry)
                    visit = _visit(entry["key"], latency_ms, float(number), **fields)
                    visit["reference_ms"] = self._slowness
                    file.write(json.dumps(visit).encode() + b"\n")
                self.asked.append({entry["key"] for _, entry in missing})
        on_progress(len(missing), len(missing))


def _usual_cost_ms(entry: Record) -> float:
    if "parts" in entry:
        return 2.0
    return 0.25 if entry["key"].startswith("boundary") else 1.0


@pytest.fixture(scope="session")
def make_device() -> Callable[..., FakeDevice]:
    """``make_device(slowness=2.0, runtime="other")``: a device of our own making."""
    return FakeDevice


@pytest.fixture(scope="session")
def small_table(small_space: SearchSpace) -> LatencyTable:
    """Of ``small_space``: a network takes 2 ms, and each stage 2 ms of kernel 3 or 4 ms of 5."""
    latencies_ms: dict[str, float] = {}
    values = product(*small_space.choices.values())
    networks = (small_space.build(dict(zip(small_space.choices, v, strict=True))) for v in values)
    for block, shape, after in steps_of(networks):
        match block:
            case InvertedResidual():
                added_ms = {3: 2.0, 5: 4.0}[block.kernel]
            case ConvNormAct():
                added_ms = 1.5
            case _:
                added_ms = 0.5
        stub_ms = 0.0 if after is After.IMAGE else 0.5
        latencies_ms[block_key(block, shape, after)] = stub_ms + added_ms
        if stub_ms:
            latencies_ms[boundary_key(shape, after)] = stub_ms
    return _table(latencies_ms, "small.jsonl")


@pytest.fixture(scope="session")
def table_of(make_table: Callable[..., LatencyTable]) -> Callable[[Iterable[Step]], LatencyTable]:
    """``table_of(steps)``: what blocks cost by their MAdds and memory, give or take 30 %."""

    def build(steps: Iterable[Step]) -> LatencyTable:
        latencies_ms: dict[str, float] = {}
        for block, shape, after in steps:
            key = block_key(block, shape, after)
            costs = count_block_costs(lower_block(block, shape))
            ms = 1e-7 * costs.madds + 1e-6 * costs.memory_access + 0.01
            latencies_ms[key] = ms * random.Random(key).uniform(0.7, 1.3)
            if after is not After.IMAGE:
                latencies_ms[boundary_key(shape, after)] = 0.002
        return make_table(latencies_ms)

    return build


class _Silent:
    def __call__(self, done: float, total: float) -> None:
        pass

    def describe(self, description: str) -> None:
        pass


@pytest.fixture(scope="session")
def silent() -> Update:
    """What is told how far something is, and shows it to nobody."""
    return _Silent()
