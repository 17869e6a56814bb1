"""The device torch_cuda: what it says where there is no GPU, and how it uses one."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latency.devices import torch_cuda
from latency.devices.base import Device, DeviceError
from latency.devices.torch_cuda import CudaAccelerator, TorchCudaDevice, main
from latency.plan import no_progress
from latency.table import LatencyTable

HAS_GPU = torch.cuda.is_available()
PLAN, TABLE = Path("a.plan"), Path("a.jsonl")
GPU = SimpleNamespace(
    name="NVIDIA A100", major=8, minor=0, multi_processor_count=108, total_memory=80 << 30, uuid="1"
)


def pretend(monkeypatch: pytest.MonkeyPatch, *, cuda: str | None = "12.6", gpus: int = 1) -> None:
    """Let torch say that it is built with CUDA and finds so many GPUs."""
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: GPU)


def test_it_is_a_device_with_a_name_for_each_gpu() -> None:
    device: Device = TorchCudaDevice()
    assert device.name == "torch_cuda"
    assert TorchCudaDevice(index=1).name == "torch_cuda-1"


@pytest.mark.parametrize("index", [-1, True, "0", 1.0])
def test_an_index_that_is_none_is_refused(index: Any) -> None:
    with pytest.raises(ValueError, match=r"^index must be an integer from 0 up, but got"):
        TorchCudaDevice(index=index)


@pytest.mark.parametrize(
    ("cuda", "gpus", "match"),
    [
        (None, 0, "needs a torch with CUDA, and this is torch .*, built without; PyPI's for Linux"),
        ("12.6", 0, r"\(CUDA 12.6\) finds no GPU; `nvidia-smi` must list one and a driver for"),
        ("12.6", 2, r"index must be in 0\.\.1, the GPUs that torch finds, but is 2"),
    ],
)
def test_without_the_gpu_it_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, cuda: str | None, gpus: int, match: str
) -> None:
    pretend(monkeypatch, cuda=cuda, gpus=gpus)
    device = TorchCudaDevice(index=2)
    for use in (device.describe, lambda: device.measure(PLAN, TABLE, no_progress)):
        with pytest.raises(DeviceError, match=match) as caught:
            use()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_the_process_that_measures_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch, small_plan: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch_cuda, "check_cuda", lambda _: None)
    table = tmp_path / "table.jsonl"
    with pytest.raises(DeviceError, match=r"^measuring on GPU 0 failed: (device torch_cuda|torch)"):
        TorchCudaDevice().measure(small_plan, table, no_progress)
    assert not table.exists()


def test_the_description_says_what_decides_latencies(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    described = TorchCudaDevice().describe()
    assert json.loads(json.dumps(described)) == described == TorchCudaDevice().describe()
    assert described["device"]["gpu"] == "NVIDIA A100"
    assert described["device"]["capability"] == "8.0"
    assert described["device"]["memory_mib"] == 80 << 10
    assert (described["runtime"], described["provider"]) == ("torch", "torch_cuda")
    assert described["runtime_version"] == torch.__version__
    settings = described["runtime_settings"]
    assert (settings["cuda"], settings["cudnn_benchmark"], settings["tf32"]) == (
        "12.6",
        True,
        False,
    )
    assert settings["layout"] == {"fp32": "contiguous_format", "fp16": "channels_last"}


class OnCpu:
    """Takes the place of the GPU: runs on the processor, where each run takes 200 ms or 1 ms."""

    device = torch.device("cpu")

    def __init__(self, index: int) -> None:
        self._prepared: list[Any] = []

    def describe(self) -> dict[str, Any]:
        return {"device": {}, "runtime": "torch", "runtime_version": "2", "provider": "torch_cuda"}

    def prepare(self, run: Callable[[], object]) -> Callable[[], object]:
        time.sleep(0.002)  # visits of an entry are told apart by their milliseconds
        self._prepared.append(run)
        return run

    def seconds(self, runs: list[Callable[[], object]]) -> list[float]:
        return [0.2 if run is self._prepared[0] else 0.001 for run in runs]

    def readings(self) -> dict[str, float]:
        return {}

    def throttled(self) -> bool:
        return False


def test_the_command_measures_a_plan(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_plan: Path,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(torch_cuda, "CudaAccelerator", OnCpu)
    table = tmp_path / "table.jsonl"
    assert main([str(small_plan), "--out", str(table)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "measured 0/4 visits"
    assert "measured 4/4 visits, 0 s left" in lines
    assert LatencyTable.load(table).header["provider"] == "torch_cuda"


def test_the_command_describes_the_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch)
    assert main(["--describe"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == TorchCudaDevice().describe()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "give a plan and --out TABLE"),
        (["a.plan"], "give a plan and --out TABLE"),
        (["no.plan", "--out", "table.jsonl"], "no.plan is no plan"),
        (["--describe"], "needs a torch with CUDA"),
        (["--describe", "--index", "-1"], "index must be an integer from 0 up, but got -1"),
    ],
)
def test_mistakes_are_answered_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    match: str,
) -> None:
    pretend(monkeypatch, cuda=None, gpus=0)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("torch_cuda.py: error: ")
    assert match in line
    assert not list(tmp_path.iterdir())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is asked of torch.cuda, in order, by stand-ins for its classes."""
    said: list[str] = []

    class Stream:
        def __init__(self, device: object = None) -> None:
            pass

        def wait_stream(self, other: object) -> None:
            said.append("wait")

    class Graph:
        def replay(self) -> None:
            said.append("replay")

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            said.append("record")

        def synchronize(self) -> None:
            said.append("synchronize")

        def elapsed_time(self, end: object) -> float:
            return 1.5

    @contextlib.contextmanager
    def inside(name: str) -> Iterator[None]:
        said.append(f"{name} begins")
        yield
        said.append(f"{name} ends")

    pretend(monkeypatch)
    stand_ins = {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "Event": Event,
        "current_stream": Stream,
        "stream": lambda _: inside("side stream"),
        "graph": lambda _: inside("capture"),
        "set_device": lambda _: None,
    }
    for name, stand_in in stand_ins.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    backends = (
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
    )
    before = [getattr(owner, name) for owner, name in backends]
    yield said
    for (owner, name), value in zip(backends, before, strict=True):
        setattr(owner, name, value)


def test_a_graph_is_captured_after_a_warm_up_and_then_replayed(calls: list[str]) -> None:
    replay = CudaAccelerator(0).prepare(lambda: calls.append("run"))
    warm_up = ["wait", "side stream begins", "run", "run", "run", "side stream ends", "wait"]
    assert calls == [*warm_up, "capture begins", "run", "capture ends"]
    calls.clear()
    replay()
    assert calls == ["replay"]


def test_runs_are_queued_before_any_is_waited_for(calls: list[str]) -> None:
    run = lambda: calls.append("run")  # noqa: E731
    assert CudaAccelerator(0).seconds([run, run]) == [pytest.approx(1.5e-3)] * 2
    assert calls == ["record", "run", "record", "run", "record", "synchronize"]


def test_what_the_description_says_of_cudnn_and_tf32_is_so(calls: list[str]) -> None:
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    settings = CudaAccelerator(0).describe()["runtime_settings"]
    assert torch.backends.cudnn.benchmark is settings["cudnn_benchmark"]
    assert torch.backends.cudnn.allow_tf32 is settings["tf32"]
    assert torch.backends.cuda.matmul.allow_tf32 is settings["tf32"]


@pytest.mark.skipif(not HAS_GPU, reason="no GPU")
def test_a_gpu_measures_a_plan(small_plan: Path, tmp_path: Path) -> None:
    device, path = TorchCudaDevice(), tmp_path / "table.jsonl"
    steps: list[tuple[int, int]] = []
    device.measure(small_plan, path, lambda *step: steps.append(step))
    table = LatencyTable.load(path)
    table.check(**device.describe(), precision="fp32")
    assert len(table) == 2
    assert steps[-1] == (4, 4)


@pytest.mark.skipif(not HAS_GPU, reason="no GPU")
def test_a_captured_graph_computes_what_it_did_before() -> None:
    image, outputs = torch.ones(4, device="cuda"), list[torch.Tensor]()
    replay = CudaAccelerator(0).prepare(lambda: outputs.append(2 * image))
    image.fill_(3.0)
    replay()
    assert outputs[-1].tolist() == [6.0] * 4
