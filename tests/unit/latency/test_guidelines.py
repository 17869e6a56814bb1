"""``python -m latency.guidelines``: what it measures, prints, writes and refuses."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from latency import guidelines
from latency.guideline_graphs import GUIDELINES, SCALES
from latency.guideline_verdict import Outcome
from latency.guidelines import main, measure_guidelines, report, result_lines
from latency.plan import MeasureSettings, Progress, no_progress
from latency.profile import REFERENCE, Plan, profile, visit_lines

DESCRIBED = {"device": {"cpu": "fake"}, "runtime": "fake", "runtime_version": "1", "provider": "x"}
STUBS_MS = 0.5


class FakeBench:
    """Stubs take half a millisecond, and networks that and what ``latency_ms`` says."""

    def __init__(self, latency_ms: Callable[[str], float]) -> None:
        self.seconds_in_runs = 0.0
        self.visited: list[str] = []
        self._latency_ms = latency_ms

    def describe(self) -> dict[str, Any]:
        return DESCRIBED

    def warm_up(self) -> None:
        pass

    def sit(self, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        self.visited += [entry["key"] for entry in entries]
        turns = [REFERENCE, *range(len(entries))] * 3
        took = {REFERENCE: 1e-3}
        for index, entry in enumerate(entries):
            took[index] = 1e-3 * STUBS_MS
            if entry["key"].startswith("guideline"):
                took[index] += 1e-3 * self._latency_ms(entry["key"])
        lines = visit_lines(entries, turns, [took[turn] for turn in turns])
        return [{**line, "at_s": float(len(self.visited))} for line in lines]


class FakeDevice:
    """Runs plans on a ``FakeBench``."""

    def __init__(self, latency_ms: Callable[[str], float]) -> None:
        self.bench = FakeBench(latency_ms)

    @property
    def name(self) -> str:
        return "fake"

    @property
    def is_live(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return DESCRIBED

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        def make_bench(plan: Plan, folder: Path) -> FakeBench:
            return self.bench

        profile(plan, table, lambda _: None, make_bench)


def paper_ms(key: str) -> float:
    """The latencies behind the paper's speeds on its CPU; 10 ms where it has none."""
    for guideline in GUIDELINES:
        for row in guideline.rows:
            for scale, speed in zip(SCALES, row.cpu or (), strict=False):
                if guideline.key(row, scale) == key:
                    return 1e3 / speed
    return 10.0


@pytest.fixture
def paper_device(monkeypatch: pytest.MonkeyPatch) -> FakeDevice:
    """A device like the paper's CPU, which ``main`` measures on."""
    device = FakeDevice(paper_ms)
    monkeypatch.setattr(guidelines, "device_of", lambda options: device)
    return device


def test_the_papers_cpu_is_measured_as_the_paper_has_it(tmp_path: Path) -> None:
    results = measure_guidelines(
        FakeDevice(paper_ms), tmp_path / "table.jsonl", MeasureSettings(), no_progress
    )
    for result in results:
        assert result.here.outcome is result.paper["cpu"].outcome
        for label, figures in result.guideline.paper("cpu").items():
            speeds = [speed.per_second for speed in result.speeds[label]]
            assert speeds == pytest.approx(figures, rel=1e-9)


def test_the_table_of_a_guideline_stands_beside_the_papers(tmp_path: Path) -> None:
    results = measure_guidelines(
        FakeDevice(lambda _: 2.0), tmp_path / "table.jsonl", MeasureSettings(), no_progress
    )
    lines = result_lines(results[1])
    (row,) = [line for line in lines if line.startswith("g=8")]
    assert re.findall(r"[-\d.]+", row.removeprefix("g=8")) == [
        "184-176", "0.988", "1.00", "0.70", "0.26", "1.00", "0.74", "0.35", "1.00", "0.78", "0.53",
    ]  # fmt: skip
    assert any(line.startswith("this device  does not hold: g=8 has 1.00") for line in lines)
    (control,) = [line for line in result_lines(results[0]) if line.startswith("1:4 control")]
    assert control.count("–") == 2 * len(SCALES)


def test_every_number_is_in_the_report(tmp_path: Path) -> None:
    results = measure_guidelines(
        FakeDevice(lambda _: 2.0), tmp_path / "table.jsonl", MeasureSettings(), no_progress
    )
    content = json.loads(json.dumps(report(results, DESCRIBED), allow_nan=False))
    assert content["device"] == {"cpu": "fake"}
    rows = {row["row"]: row["columns"] for row in content["guidelines"][0]["rows"]}
    assert rows["1:2"][1] == {
        "scale": 2,
        "channels": [46, 90],
        "madds": 20 * 46 * 90 * 56 * 56,
        "latency_ms": pytest.approx(2.0),
        "latency_interval": 0.0,
        "relative_speed": pytest.approx(1.0),
        "relative_speed_interval": 0.0,
        "paper_cpu_speed": 20.5,
        "paper_gpu_speed": 586,
    }
    assert rows["1:4 control"][0]["paper_cpu_speed"] is None
    assert content["guidelines"][0]["verdict"]["outcome"] == Outcome.DOES_NOT_HOLD


def test_a_network_that_is_as_fast_as_its_stubs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"guideline G1 1:1 x1 took 0\.5 ms and its stubs alone"):
        measure_guidelines(
            FakeDevice(lambda _: 0.0), tmp_path / "table.jsonl", MeasureSettings(), no_progress
        )


def test_the_command_prints_verdicts_and_writes_figures_and_numbers(
    paper_device: FakeDevice, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    assert main(["--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("this device  holds: ") == 3
    assert printed.count("this device  does not hold: 4-fragment-series has 0.96 to 1.00 of") == 1
    figures = [out / f"{guideline.name}.png" for guideline in GUIDELINES]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in figures)
    assert {path.name for path in out.iterdir()} == {
        "table.jsonl", "guidelines.json", *(figure.name for figure in figures)
    }  # fmt: skip
    assert json.loads((out / "guidelines.json").read_text())["threads"] == 1


def test_a_measurement_goes_on_where_it_stopped(tmp_path: Path) -> None:
    device, table = FakeDevice(paper_ms), tmp_path / "table.jsonl"
    measure_guidelines(device, table, MeasureSettings(), no_progress)
    lines = table.read_text().splitlines(keepends=True)
    visits = len(device.bench.visited)
    assert len(lines) == visits + 1
    table.write_text("".join(lines[:-2]) + lines[-2][:20])
    measure_guidelines(device, table, MeasureSettings(), no_progress)
    assert len(device.bench.visited) == visits + 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "{file}"], "--out must be a folder, but "),
        (["--min-rounds", "1"], "--min-rounds must be at least 2"),
        (["--threads", "0"], "threads must be an integer in 1..1024, but got 0"),
        (["--device", "toaster"], "'toaster'"),
        (["--runs", "many"], "--runs: invalid int value: 'many'"),
    ],
)
def test_a_mistake_is_answered_in_one_line_and_exit_code_2(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine\n")
    given = [option.format(file=file) for option in options]
    if "--out" not in given:
        given += ["--out", str(tmp_path / "out")]
    try:
        code: object = main(given)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith("latency.guidelines: error: ")
    assert message in error
    assert file.read_text() == "mine\n"
    assert list(tmp_path.iterdir()) == [file]
