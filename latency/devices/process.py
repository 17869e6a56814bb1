"""A script of ours that measures in a process of its own: its progress, its failure, its end."""

import re
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import BinaryIO

from latency.devices.base import DeviceError
from latency.plan import Progress

_STOP_SECONDS = 5.0


def run_measurement(command: Sequence[str], on_progress: Progress, where: str) -> None:
    """Run ``command`` to its end and pass on the progress that it prints.

    Whatever interrupts this ends the process as well.

    Args:
        where: for a person, like ``on this machine``.

    Raises:
        DeviceError: it failed; the message is one line.
    """
    # Errors go to a file: a pipe that nobody reads would fill up and block the writer.
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,  # noqa: S603
    ):
        try:
            assert process.stdout is not None
            for line in process.stdout:
                report_progress(line, on_progress)
            process.wait()
        except BaseException:
            _stop(process)
            raise
        if process.returncode:
            reason = failure_reason(errors, process.returncode)
            raise DeviceError(f"measuring {where} failed: {reason}")


def report_progress(line: bytes, on_progress: Progress) -> None:
    """``measured 12/340 visits, …`` → ``on_progress(12, 340)``; other lines say nothing."""
    if found := re.match(rb"measured (\d{1,18})/(\d{1,18})\b", line):
        on_progress(int(found[1]), int(found[2]))


def failure_reason(errors: BinaryIO, code: int) -> str:
    """Why a process failed, in one line: the last that it wrote to the file, or how it ended."""
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    if lines:
        return re.sub(r"^\w+\.py: error: ", "", lines[-1])
    return f"it ended with {_signal_name(-code) if code < 0 else f'exit code {code}'}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: gently, so that it removes its temporary files, and then for certain."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
