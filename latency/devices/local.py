"""This machine: ``profile.py`` in a process of its own, with no torch in it."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import latency.profile
from latency.devices.base import DeviceError
from latency.plan import Progress
from latency.profile import describe

_STOP_SECONDS = 5.0


class LocalDevice:
    """Measures on the machine that this process runs on."""

    def describe(self) -> dict[str, Any]:
        return describe()

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        command = [sys.executable, latency.profile.__file__, str(plan), "--out", str(table)]
        # Errors go to a file: a pipe that nobody reads would fill up and block the writer.
        with (
            tempfile.TemporaryFile() as errors,
            subprocess.Popen(  # noqa: S603
                command, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as process,
        ):
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    _report(line, on_progress)
                process.wait()
            except BaseException:
                _stop(process)
                raise
            if process.returncode:
                errors.seek(0)
                reason = _reason(errors.read(), process.returncode)
                raise DeviceError(f"measuring on this machine failed: {reason}")


def _stop(process: subprocess.Popen[str]) -> None:
    """End the process: gently, so that it removes its temporary files, and then for certain."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _reason(errors: bytes, code: int) -> str:
    lines = errors.decode(errors="replace").strip().splitlines()
    if lines:
        return lines[-1].removeprefix("profile.py: error: ")
    return f"profile.py ended with {_signal_name(-code) if code < 0 else f'exit code {code}'}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _report(line: str, on_progress: Progress) -> None:
    """``measured 12/340 entries, …`` → ``on_progress(12, 340)``."""
    words = line.split()
    if words[:1] == ["measured"]:
        done, _, total = words[1].partition("/")
        on_progress(int(done), int(total))
