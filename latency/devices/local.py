"""This machine: ``profile.py`` in a process of its own, with no torch in it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import latency.profile
from latency.devices.base import DeviceError, device_name
from latency.devices.process import run_measurement
from latency.plan import Progress
from latency.profile import CPU_PROVIDER, ProfileError, describe


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalDevice:
    """Measures on the machine that this process runs on.

    Attributes:
        provider: the execution provider of onnxruntime that runs the graphs.
    """

    provider: str = CPU_PROVIDER

    @property
    def name(self) -> str:
        return device_name("local", self.provider)

    @property
    def is_live(self) -> bool:
        return True

    def describe(self) -> dict[str, Any]:
        try:
            return describe(self.provider)
        except ProfileError as error:
            raise DeviceError(str(error)) from None

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        script = latency.profile.__file__
        command = [sys.executable, script, str(plan), "--out", str(table)]
        command += ["--provider", self.provider]
        run_measurement(command, on_progress, "on this machine")
