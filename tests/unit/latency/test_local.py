"""The local device: what becomes of the process that measures."""

import os
from pathlib import Path

import pytest
from onnx import TensorProto, helper

import latency.profile
from latency.devices import LocalDevice
from latency.devices.base import DeviceError
from latency.measure import measure_entries
from latency.plan import MeasureSettings, PlanEntry, no_progress

PLAN, TABLE = Path("a.plan"), Path("a.jsonl")


def _stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    script = folder / "profile.py"
    script.write_text(code)
    monkeypatch.setattr(latency.profile, "__file__", str(script))


def _progress() -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    LocalDevice().measure(PLAN, TABLE, lambda *step: seen.append(step))
    return seen


def test_a_flood_of_errors_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(
        monkeypatch,
        tmp_path,
        "import sys\n"
        "for _ in range(20_000): print('a warning of the runtime', file=sys.stderr)\n"
        "print('measured 1/1 visits, 0 s left')\n",
    )
    assert _progress() == [(1, 1)]


def test_only_lines_of_progress_are_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(
        monkeypatch,
        tmp_path,
        "print('measured 3/8 visits, 2 s left')\n"
        "print('nothing to measure: all is there')\n"
        "print('measured much/more')\n"
        "print('measured')\n"
        "import sys; sys.stdout.buffer.write(bytes([255, 10]))\n"
        "print('measured 8/8 visits')\n",
    )
    assert _progress() == [(3, 8), (8, 8)]


def test_the_provider_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(monkeypatch, tmp_path, "import sys; sys.exit(' '.join(sys.argv[1:]))")
    with pytest.raises(DeviceError, match=r"failed: a\.plan --out a\.jsonl --provider Some$"):
        LocalDevice(provider="Some").measure(PLAN, TABLE, lambda *_: None)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('a\\nprofile.py: error: no such plan')", "failed: no such plan$"),
        ("import sys; sys.exit(3)", "failed: it ended with exit code 3$"),
        ("import os; os.kill(os.getpid(), 9)", "failed: it ended with SIGKILL$"),
    ],
)
def test_a_failure_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    _stand_in(monkeypatch, tmp_path, code)
    with pytest.raises(DeviceError, match=message):
        LocalDevice().measure(PLAN, TABLE, lambda *_: None)


@pytest.mark.parametrize("deaf", [False, True])
def test_an_interruption_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool
) -> None:
    monkeypatch.setattr("latency.devices.process._STOP_SECONDS", 0.2)
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else ""
    _stand_in(
        monkeypatch,
        tmp_path,
        f"{ignore}import os, time\nprint('measured', f'{{os.getpid()}}/1', flush=True)\n"
        "time.sleep(600)\n",
    )
    pids: list[int] = []

    def interrupted(pid: int, _: int) -> None:
        pids.append(pid)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalDevice().measure(PLAN, TABLE, interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_graph_of_pixels_is_fed_bytes(tmp_path: Path) -> None:
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])
    result = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 8, 8, 3])
    cast = helper.make_node("Cast", ["image"], ["output"], to=TensorProto.FLOAT)
    graph = helper.make_graph([cast], "pixels", [image], [result])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    entry = PlanEntry(key="pixels", graph=model.SerializeToString(), input_shape=(1, 8, 8, 3))
    settings = MeasureSettings(runs=6, min_rounds=1, max_rounds=1)
    (found,) = measure_entries(
        LocalDevice(), tmp_path / "table.jsonl", [entry], settings, no_progress
    )
    assert found.latency_ms > 0
