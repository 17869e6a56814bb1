"""What a device must do."""

from pathlib import Path
from typing import Any, Protocol

from latency.plan import Progress
from latency.profile import CPU_PROVIDER


class DeviceError(RuntimeError):
    """A measurement that failed; the message says where and why."""


class Device(Protocol):
    """Runs plans. Contract tests hold every device to this."""

    @property
    def name(self) -> str:
        """What a table of this device is called where nobody says otherwise; good in a path."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether it measures while one waits.

        Where it does not, ``measure`` raises ``NotMeasuredYet`` (``errands.py``) until somebody has
        carried the plan there; so all that may be needed is asked for at once.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """The header fields that a table of this device must have.

        Raises:
            DeviceError: it cannot be reached, or lacks what measures.
        """
        ...

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        """Measure what ``table`` lacks of ``plan`` and append it there.

        Raises:
            DeviceError: the measurement failed; what was measured before stays in the table.
        """
        ...


def device_name(place: str, provider: str) -> str:
    """``local`` for what runs on the processor there, else ``local-cuda`` and the like."""
    if provider == CPU_PROVIDER:
        return place
    return f"{place}-{provider.removesuffix('ExecutionProvider').lower()}"
