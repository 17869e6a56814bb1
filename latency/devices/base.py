"""What a device must do."""

from pathlib import Path
from typing import Any, Protocol

from latency.plan import Progress


class DeviceError(RuntimeError):
    """A measurement that failed; the message says where and why."""


class Device(Protocol):
    """Runs plans. Contract tests hold every device to this."""

    def describe(self) -> dict[str, Any]:
        """The header fields that a table of this device must have."""
        ...

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        """Measure what ``table`` lacks of ``plan`` and append it there.

        Raises:
            DeviceError: the measurement failed; what was measured before stays in the table.
        """
        ...
