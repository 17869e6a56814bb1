"""What the processor says of itself, and what a visit of the runtime's bench is made of."""

import json
import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from latency import profile
from latency.profile import OrtBench, Plan, Sensors, check_visit, describe_device, main
from latency.table import LatencyTable

MakePlan = Callable[..., Path]
CPUS = "devices/system/cpu"
FILES = {
    f"{CPUS}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPUS}/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
    f"{CPUS}/cpu1/cpufreq/scaling_cur_freq": "3400000\n",
    f"{CPUS}/cpu0/thermal_throttle/core_throttle_count": "3\n",
    f"{CPUS}/cpu1/thermal_throttle/core_throttle_count": "4\n",
    f"{CPUS}/cpu1/thermal_throttle/package_throttle_count": "5\n",
    "class/thermal/thermal_zone0/temp": "45000\n",
    "class/thermal/thermal_zone1/temp": "61500\n",
}


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A tree like Linux's ``/sys``."""
    root = tmp_path / "sys"
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_processors_state_is_that_of_its_fastest_core_and_hottest_zone(sysfs: Path) -> None:
    sensors = Sensors(sysfs)
    assert sensors.governor() == "powersave"
    assert sensors.readings() == {"mhz": 3400.0, "celsius": 61.5}
    assert sensors.throttled() == 12


def test_a_system_that_says_nothing_is_no_mistake(tmp_path: Path) -> None:
    sensors = Sensors(tmp_path)
    assert (sensors.governor(), sensors.readings(), sensors.throttled()) == (None, {}, 0)


@pytest.mark.parametrize("text", ["", "unknown", "nan", "inf", "-274000", "0", "9" * 5000, "é"])
def test_what_a_broken_sensor_says_is_left_out(sysfs: Path, text: str) -> None:
    for name in FILES:
        if "scaling_cur" in name or "temp" in name:
            (sysfs / name).write_text(text)
    assert Sensors(sysfs).readings() == {}
    (sysfs / "class/thermal/thermal_zone0/temp").write_text("45000")
    assert Sensors(sysfs).readings() == {"celsius": 45.0}


def test_the_governor_is_part_of_the_device(sysfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "Sensors", partial(Sensors, sysfs))
    device = describe_device()
    assert device["governor"] == "powersave"
    assert (device["system"], device["machine"]) == (platform.system(), platform.machine())
    (sysfs / CPUS / "cpu0/cpufreq/scaling_governor").write_bytes(b"\xff\xfe")
    assert describe_device()["governor"] is None


@pytest.mark.parametrize(
    ("counts", "line", "pauses"),
    [
        ([12, 12], {}, []),
        ([12, 13, 13, 13], {}, [1.0]),
        ([12, 13, 13, 15, 15, 15], {}, [1.0, 2.0]),
        ([12, 13, 13, 15, 15, 18], {"throttled": 3}, [1.0, 2.0, 4.0]),
        ([12, 10], {}, []),
    ],
    ids=["cool", "once", "twice", "always", "a core is switched off"],
)
def test_a_sitting_in_which_the_processor_is_slowed_down_for_heat_is_repeated_after_a_pause(
    small_plan: Path,
    sysfs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counts: list[int],
    line: dict[str, int],
    pauses: list[float],
) -> None:
    slept: list[float] = []
    readings = iter(counts)
    file = sysfs / CPUS / "cpu0/thermal_throttle/core_throttle_count"

    def throttled(sensors: Sensors) -> int:
        file.write_text(str(next(readings) - 9))
        return read(sensors)

    read = Sensors.throttled
    monkeypatch.setattr(Sensors, "throttled", throttled)
    monkeypatch.setattr(profile, "Sensors", partial(Sensors, sysfs))
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(OrtBench, "_sit", lambda _, entries: [{"key": e["key"]} for e in entries])
    with Plan(small_plan) as plan:
        lines = OrtBench(plan, tmp_path).sit([{"key": "a"}, {"key": "b"}])
    assert lines == [{"key": "a", **line}, {"key": "b", **line}]
    assert slept == pauses
    assert list(readings) == []


def test_readings_stand_in_the_table(
    small_plan: Path, sysfs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile, "Sensors", partial(Sensors, sysfs))
    for line in _measured(small_plan, tmp_path / "table.jsonl"):
        assert (line["mhz"], line["celsius"]) == (3400.0, 61.5)
        assert "throttled" not in line


@pytest.mark.parametrize(("alone", "order"), [(False, "RERERE"), (True, "REEER")])
def test_entries_run_in_turns_with_the_reference_except_where_one_is_alone(
    bent_plan: MakePlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: bool,
    order: str,
) -> None:
    entry = {"key": "Entry", "graph": "graphs/1.onnx", "input_shape": [1, 4, 8, 8], "alone": alone}
    reference = entry | {"key": "Reference"}
    ran: list[str] = []
    monkeypatch.setattr(OrtBench, "_runner", lambda _, entry: lambda: ran.append(entry["key"][0]))
    path = bent_plan(entries=[entry], reference=reference, runs=3, min_rounds=1, max_rounds=1)
    with Plan(path) as plan:
        bench = OrtBench(plan, tmp_path)
        bench.warm_up()
        ran.clear()
        (line,) = bench.sit(plan.entries)
    assert "".join(ran) == order
    assert line["runs"] == 3
    assert bench.seconds_in_runs > 0


@pytest.mark.parametrize(("spinning", "threads"), [(False, 1), (True, 2)])
def test_the_runtime_has_the_threads_of_the_plan_and_they_spin_only_where_it_says_so(
    bent_plan: MakePlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spinning: bool,
    threads: int,
) -> None:
    seen: list[tuple[str, int, int]] = []
    session = onnxruntime.InferenceSession

    def spy(path: Path, options: Any, **others: Any) -> Any:
        spins = options.get_session_config_entry("session.intra_op.allow_spinning")
        seen.append((spins, options.intra_op_num_threads, options.inter_op_num_threads))
        return session(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    _measured(bent_plan(spinning=spinning, threads=threads), tmp_path / "table.jsonl")
    assert set(seen) == {(str(int(spinning)), threads, 1)}


def test_the_process_is_pinned_to_the_cores_of_the_plan(
    small_plan: Path, bent_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned: list[tuple[int, list[int]]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *of: pinned.append(of))
    _measured(small_plan, tmp_path / "free.jsonl")
    assert pinned == []
    _measured(bent_plan(affinity=[1, 0]), tmp_path / "pinned.jsonl")
    assert pinned == [(0, [1, 0])]
    assert LatencyTable.load(tmp_path / "pinned.jsonl").header["affinity"] == [1, 0]


def test_cores_that_are_not_there_are_named_before_a_table_is_begun(
    bent_plan: MakePlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.jsonl"
    assert main([str(bent_plan(affinity=[1023])), "--out", str(table)]) == 2
    error = capsys.readouterr().err
    assert "cannot pin this process to the cores [1023]: " in error
    assert error.count("\n") == 1
    assert not table.exists()


def test_a_system_that_cannot_pin_says_so(
    bent_plan: MakePlan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity")
    assert main([str(bent_plan(affinity=[0])), "--out", str(tmp_path / "t")]) == 2
    assert "cannot pin a process to cores; plan without" in capsys.readouterr().err


def test_a_trace_times_every_node_in_a_single_visit(
    bent_plan: MakePlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    place = {"graph": "graphs/1.onnx", "input_shape": [1, 4, 8, 8]}
    path = bent_plan(entries=[{"key": "traced", "trace": True, **place}, {"key": "not", **place}])
    lines = _measured(path, tmp_path / "table.jsonl")
    assert sorted(line["key"] for line in lines) == ["not", "not", "traced"]
    (ops,) = [line["ops"] for line in lines if "ops" in line]
    assert any("Conv" in operator for _, operator, _ in ops)
    assert len({node for node, _, _ in ops}) == len(ops)
    assert all(milliseconds >= 0 for _, _, milliseconds in ops)
    assert LatencyTable.load(tmp_path / "table.jsonl").entry("traced").ops == tuple(map(tuple, ops))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bent.plan", "table.jsonl"]


def _measured(plan: Path, table: Path) -> list[dict[str, Any]]:
    """The visits of a run."""
    assert main([str(plan), "--out", str(table), "--quiet"]) == 0
    lines = [json.loads(line) for line in table.read_text().splitlines()[1:]]
    for line in lines:
        check_visit(line)
    return lines
