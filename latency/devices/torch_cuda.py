"""A GPU of NVIDIA, with torch: for where there is no build of onnxruntime for it.

    python -m latency.devices.torch_cuda PLAN --out TABLE

The graphs of a plan are run by torch, captured as CUDA graphs, and timed by the GPU's own clock.
Rounds, visits and table are those of ``latency/profile.py``.
"""

import argparse
import json
import platform
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from latency.devices.base import DeviceError
from latency.devices.nvml import GpuSensors, load_nvml
from latency.devices.process import run_measurement
from latency.options import make_parser, run_command
from latency.plan import Progress
from latency.profile import ProfileError, profile
from latency.torch_bench import LAYOUTS, Run, TorchBench

PROVIDER = "torch_cuda"
_COMMAND = "torch_cuda.py"
_CAPTURE_WARM_UP_RUNS = 3
_INSTALL = "`pip install --force-reinstall --index-url https://pypi.org/simple torch`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchCudaDevice:
    """Measures on a GPU of this machine, with torch.

    Attributes:
        index: which, as CUDA counts them.
    """

    index: int = 0

    def __post_init__(self) -> None:
        if type(self.index) is not int or self.index < 0:
            raise ValueError(f"index must be an integer from 0 up, but got {self.index!r:.40}")

    @property
    def name(self) -> str:
        return PROVIDER if self.index == 0 else f"{PROVIDER}-{self.index}"

    @property
    def is_live(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        return describe_gpu(self.index)

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        check_cuda(self.index)
        command = [sys.executable, "-m", "latency.devices.torch_cuda", str(plan)]
        command += ["--out", str(table), "--index", str(self.index)]
        run_measurement(command, on_progress, f"on GPU {self.index}")


def check_cuda(index: int) -> None:
    """Raise ``DeviceError`` unless torch can use the GPU."""
    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        raise DeviceError(
            f"device torch_cuda needs a torch with CUDA, and this is {build}, built without; "
            f"PyPI's for Linux brings it along: {_INSTALL}"
        )
    if not torch.cuda.is_available():
        raise DeviceError(
            f"{build} (CUDA {torch.version.cuda}) finds no GPU; `nvidia-smi` must list one and a "
            f"driver for CUDA {torch.version.cuda} or later"
        )
    if index >= (count := torch.cuda.device_count()):
        raise DeviceError(
            f"index must be in 0..{count - 1}, the GPUs that torch finds, but is {index}"
        )


def describe_gpu(index: int) -> dict[str, Any]:
    """The GPU, and how torch uses it: header fields of a table.

    Raises:
        DeviceError: torch cannot use it.
    """
    check_cuda(index)
    properties = torch.cuda.get_device_properties(index)
    sensors = _sensors(index)
    return {
        "device": {
            "system": platform.system(),
            "machine": platform.machine(),
            "gpu": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_mib": properties.total_memory >> 20,
            "max_mhz": sensors.max_mhz(),
            "driver": sensors.driver(),
        },
        "runtime": "torch",
        "runtime_version": str(torch.__version__),
        "provider": PROVIDER,
        "runtime_settings": {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "cudnn_benchmark": True,
            "tf32": False,
            "layout": {name: str(layout).partition(".")[2] for name, layout in LAYOUTS.items()},
        },
    }


def _sensors(index: int) -> GpuSensors:
    return GpuSensors(f"GPU-{torch.cuda.get_device_properties(index).uuid}", load_nvml())


class CudaAccelerator:
    """A GPU. One process uses one: what cuDNN and cuBLAS may do is set for the whole process.

    Raises:
        DeviceError: torch cannot use it.
    """

    def __init__(self, index: int) -> None:
        check_cuda(index)
        torch.cuda.set_device(index)
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        self.device = torch.device("cuda", index)
        self._index = index
        self._sensors = _sensors(index)

    def describe(self) -> dict[str, Any]:
        return describe_gpu(self._index)

    def prepare(self, run: Run) -> Run:
        """A CUDA graph: the processor launches it as a whole, and no gaps between kernels count."""
        # cuDNN chooses its algorithms in the first runs, which cannot be captured.
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_CAPTURE_WARM_UP_RUNS):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return partial(_replay, graph, run)

    def seconds(self, runs: Sequence[Run]) -> list[float]:
        # All are queued at once: the GPU never waits for the processor.
        events = [_event() for _ in range(len(runs) + 1)]
        events[0].record()
        for run, event in zip(runs, events[1:], strict=True):
            run()
            event.record()
        events[-1].synchronize()
        return [1e-3 * start.elapsed_time(end) for start, end in pairwise(events)]

    def readings(self) -> dict[str, float]:
        return self._sensors.readings()

    def throttled(self) -> bool:
        return self._sensors.throttled()


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _replay(graph: torch.cuda.CUDAGraph, _kept: Run) -> None:
    """``_kept`` holds the memory that the graph reads."""
    graph.replay()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(_COMMAND, __doc__ or "")
    add = parser.add_argument
    add("plan", type=Path, nargs="?", help="plan file, made by `python -m latency.plan`")
    add("--out", type=Path, help="table to write, or to go on with")
    add("--index", type=int, default=0, help="which GPU, as CUDA counts them (%(default)s)")
    add("--describe", action="store_true", help="print what this device is, as JSON, and no more")
    options = parser.parse_args(arguments)
    return run_command(_COMMAND, partial(_run, options))


def _run(options: argparse.Namespace) -> None:
    device = TorchCudaDevice(index=options.index)
    if options.describe:
        return _print_now(json.dumps(device.describe()))
    if options.plan is None or options.out is None:
        raise ValueError("give a plan and --out TABLE; `python -m latency.plan` makes a plan")
    try:
        return profile(
            options.plan,
            options.out,
            _print_now,
            lambda plan, _: TorchBench(plan, CudaAccelerator(device.index)),
        )
    except ProfileError as error:
        raise DeviceError(str(error)) from None


def _print_now(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    # Whoever started this may end it: temporary files are removed as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
