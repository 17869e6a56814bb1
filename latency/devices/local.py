"""This machine: ``profile.py`` in a process of its own, with no torch in it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime

import latency.profile
from latency.devices.base import DeviceError
from latency.plan import Progress
from latency.profile import PROVIDER, describe_device

_POLL_SECONDS = 0.2


class LocalDevice:
    """Measures on the machine that this process runs on."""

    def describe(self) -> dict[str, Any]:
        return {
            "device": describe_device(),
            "runtime": "onnxruntime",
            "runtime_version": onnxruntime.__version__,
            "provider": PROVIDER,
        }

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        command = [sys.executable, latency.profile.__file__, str(plan), "--out", str(table)]
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    _report(line, on_progress)
                _, errors = process.communicate()
            except BaseException:
                process.kill()
                raise
        if process.returncode:
            reason = errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            raise DeviceError(f"measuring on this machine failed: {reason[0]}")


def _report(line: str, on_progress: Progress) -> None:
    """``measured 12/340 entries, …`` → ``on_progress(12, 340)``."""
    words = line.split()
    if words[:1] == ["measured"]:
        done, _, total = words[1].partition("/")
        on_progress(int(done), int(total))
