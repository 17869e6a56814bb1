"""Plans timed with torch: what runs when, which figures count, and what is refused."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from latency.context import After
from latency.plan import MeasureSettings, PlanEntry, block_entry, write_plan
from latency.profile import Plan, ProfileError, profile
from latency.table import LatencyTable
from latency.torch_bench import LEAD_RUNS, Run, TorchBench
from search_spaces.blocks import ConvNormAct
from search_spaces.precision import Precision
from search_spaces.shapes import TensorShape

BLOCK = ConvNormAct(out_channels=8, kernel=3)
PLACE = TensorShape(4, 8, 8), After.CONV
HEADER = {
    "device": {"gpu": "a GPU"},
    "runtime": "torch",
    "runtime_version": "2.6.0",
    "provider": "torch_cuda",
}


class CpuAccelerator:
    """Runs everything on the processor, and says what it took by a clock that is told.

    The first thing prepared is the reference, 500 ms; others take 2 ms. What starts on an idle
    device takes a second more.
    """

    device = torch.device("cpu")

    def __init__(self, throttled: Sequence[bool] = ()) -> None:
        self.prepared: list[Run] = []
        self.batches: list[list[str]] = []
        self._throttled = iter(throttled)

    def describe(self) -> dict[str, Any]:
        return HEADER

    def prepare(self, run: Run) -> Run:
        time.sleep(0.002)  # visits of an entry are told apart by their milliseconds
        self.prepared.append(run)
        return run

    def seconds(self, runs: Sequence[Run]) -> list[float]:
        for run in set(runs):
            run()
        names = ["reference" if run is self.prepared[0] else "entry" for run in runs]
        self.batches.append(names)
        took = {"reference": 0.5, "entry": 0.002}
        return [(index == 0) + took[name] for index, name in enumerate(names)]

    def readings(self) -> dict[str, float]:
        return {"mhz": 1980.0, "celsius": 41.0}

    def throttled(self) -> bool:
        return next(self._throttled, False)


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., TorchBench]]:
    """``make_bench(accelerator, entry, precision=…)``: a bench of a plan of one entry."""
    plans: list[Plan] = []

    def make(
        accelerator: CpuAccelerator, entry: PlanEntry | None = None, **settings: Any
    ) -> TorchBench:
        precision = settings.get("precision", Precision.FP32)
        entry = entry or block_entry(BLOCK, *PLACE, precision=precision)
        path = tmp_path / f"{len(plans)}.plan"
        write_plan(path, [lambda: entry], MeasureSettings(runs=3, **settings), lambda *_: None)
        plans.append(Plan(path))
        return TorchBench(plans[-1], accelerator)

    yield make
    for plan in plans:
        plan.__exit__()


def visit(bench: TorchBench) -> dict[str, Any]:
    bench.warm_up()
    (line,) = bench.sit(bench._plan.entries)
    return line


def test_a_plan_becomes_a_table_under_the_description(small_plan: Path, tmp_path: Path) -> None:
    path, said = tmp_path / "table.jsonl", list[str]()
    make = lambda plan, _: TorchBench(plan, CpuAccelerator())  # noqa: E731
    profile(small_plan, path, said.append, make)
    table = LatencyTable.load(path)
    table.check(**HEADER, threads=1, batch=1, precision="fp32")
    assert len(table) == 2
    for entry in table.entries:
        assert (entry.rounds, entry.runs) == (2, 6)
        assert entry.median_ms == pytest.approx(2.0)
        assert entry.reference_ms == pytest.approx(500.0)
    assert said[0] == "measured 0/4 visits"
    before = path.read_bytes()
    profile(small_plan, path, said.append, make)
    assert said[-1].startswith("nothing to measure")
    assert path.read_bytes() == before


def test_entries_run_in_turns_with_the_reference(make_bench: Callable[..., TorchBench]) -> None:
    accelerator = CpuAccelerator()
    line = visit(make_bench(accelerator))
    assert accelerator.batches[-1] == ["reference"] * LEAD_RUNS + ["reference", "entry"] * 3
    # The first run starts on an idle device, and does not count.
    assert (line["latency_ms"], line["reference_ms"]) == (pytest.approx(2), pytest.approx(500))
    assert line["runs"] == 3
    assert (line["mhz"], line["celsius"]) == (1980.0, 41.0)


def test_runs_of_an_entry_alone_follow_each_other(make_bench: Callable[..., TorchBench]) -> None:
    accelerator = CpuAccelerator()
    made = block_entry(BLOCK, *PLACE)
    entry = PlanEntry(
        key="alone",
        graph=made.graph,
        input_shape=made.input_shape,
        weights_bytes=made.weights_bytes,
        alone=True,
    )
    line = visit(make_bench(accelerator, entry))
    lead = ["reference"] * LEAD_RUNS
    assert accelerator.batches[-1] == [*lead, "reference", "entry", "entry", "entry", "reference"]
    assert line["runs"] == 3


def test_the_device_is_warmed_up_by_the_reference(make_bench: Callable[..., TorchBench]) -> None:
    accelerator = CpuAccelerator()
    make_bench(accelerator).warm_up()
    assert len(accelerator.prepared) == 1
    assert {name for batch in accelerator.batches for name in batch} == {"reference"}


@pytest.mark.parametrize(
    ("precision", "layout"),
    [(Precision.FP32, torch.contiguous_format), (Precision.FP16, torch.channels_last)],
)
def test_the_layout_follows_the_precision(
    make_bench: Callable[..., TorchBench], precision: Precision, layout: torch.memory_format
) -> None:
    accelerator = CpuAccelerator()
    visit(make_bench(accelerator, precision=precision))
    run = accelerator.prepared[-1]
    assert isinstance(run, partial)
    (image,) = run.args
    assert image.shape == (1, 4, 8, 8)
    assert image.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(
    ("throttled", "visits", "marked"),
    [([True, False], 2, False), ([True] * 9, 3, True), ([False], 1, False)],
)
def test_a_sitting_of_a_throttled_gpu_is_repeated_and_marked_in_the_end(
    make_bench: Callable[..., TorchBench],
    monkeypatch: pytest.MonkeyPatch,
    throttled: list[bool],
    visits: int,
    marked: bool,
) -> None:
    monkeypatch.setattr("latency.torch_bench.THROTTLE_PAUSE_SECONDS", 0.0)
    accelerator = CpuAccelerator(throttled)
    line = visit(make_bench(accelerator))
    assert len(accelerator.prepared) == 1 + visits
    assert line.get("throttled", 0) == marked


def test_int8_is_refused(make_bench: Callable[..., TorchBench]) -> None:
    with pytest.raises(ProfileError, match="fp32 and fp16, but the plan's is int8; plan with"):
        make_bench(CpuAccelerator(), precision=Precision.INT8)


def test_a_core_that_is_not_there_is_refused(make_bench: Callable[..., TorchBench]) -> None:
    with pytest.raises(ProfileError, match=r"cannot pin this process to the cores \[1023\]"):
        make_bench(CpuAccelerator(), affinity=[1023])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"trace": True}, "cannot time the nodes of 'key'; do so with onnxruntime"),
        ({"input_shape": (1, 3, 8, 8)}, "cannot run 'key': .*3 channels"),
        ({"graph": b""}, "cannot run 'key': a graph must have one input"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_line(
    make_bench: Callable[..., TorchBench], changes: dict[str, Any], match: str
) -> None:
    made = block_entry(BLOCK, *PLACE)
    given = {
        "key": "key",
        "graph": made.graph,
        "input_shape": made.input_shape,
        "weights_bytes": made.weights_bytes,
    }
    with pytest.raises(ProfileError) as caught:
        visit(make_bench(CpuAccelerator(), PlanEntry(**given | changes)))
    assert re.search(match, str(caught.value))
    assert "\n" not in str(caught.value)
