"""What somebody has to carry to a device that cannot be reached from here, and back."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from latency.devices.base import DeviceError
from latency.profile import CPU_PROVIDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One plan to be measured on the device.

    Attributes:
        plan: its file.
        table: where the measured table is awaited.
        is_begun: whether some of it is there, which goes along and is added to.
        missing: how many entries it lacks.
        provider: the execution provider of onnxruntime that runs the graphs there.
    """

    plan: Path
    table: Path
    is_begun: bool
    missing: int
    provider: str = CPU_PROVIDER

    @property
    def files(self) -> list[Path]:
        """What is to be carried there."""
        return [self.plan, self.table] if self.is_begun else [self.plan]

    @property
    def command(self) -> str:
        """What is to be run there, beside the files and ``profile.py``."""
        words = ["python", "profile.py", self.plan.name, "--out", self.table.name]
        if self.provider != CPU_PROVIDER:
            words += ["--provider", self.provider]
        return shlex.join(words)


class NotMeasuredYet(DeviceError):  # noqa: N818 - no failure, but a wait
    """The device cannot be reached from here, and waits for plans; the message is one line."""

    def __init__(self, errands: Sequence[Errand]) -> None:
        super().__init__(errands)
        self.errands = tuple({errand.table: errand for errand in errands}.values())

    def __str__(self) -> str:
        each = self.errands
        files = [file for errand in each for file in errand.files]
        return (
            f"{_listed(f'{e.table} lacks {_entries(e.missing)}' for e in each)}: copy "
            f"{_listed([*files, 'latency/profile.py'])} to the device, run "
            f"{_listed(f'`{e.command}`' for e in each)} there, copy "
            f"{_listed(f'{e.table.name} back to {e.table}' for e in each)}, and give the same "
            "command again, which goes on where it was"
        )

    def along_with(self, measure: Callable[[], object]) -> "NotMeasuredYet":
        """The same, and what ``measure`` waits for: one way to the device serves both."""
        try:
            measure()
        except NotMeasuredYet as other:
            return NotMeasuredYet([*self.errands, *other.errands])
        return self


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def _listed(items: Iterable[object]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *most, last = map(str, items)
    return f"{', '.join(most)} and {last}" if most else last
