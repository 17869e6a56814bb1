"""A device that this computer cannot reach: somebody carries plans there, and tables back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency.devices.base import DeviceError, device_name
from latency.devices.errands import Errand, NotMeasuredYet
from latency.files import write_whole
from latency.plan import Progress, check_replaceable
from latency.profile import (
    CPU_PROVIDER,
    Plan,
    ProfileError,
    Rounds,
    difference,
    parse_table,
    read_table,
    table_header,
)
from latency.table import LatencyTable, TableError, read_visits
from latency.table_checks import checked_settings

_DESCRIBED = ("device", "runtime", "runtime_version", "provider")
_PLAN_SUFFIX = ".plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineDevice:
    """Says what is to be measured, and takes the table when it is brought.

    Attributes:
        table: the latency table of the device, kept here; its header says what the device is.
        provider: the execution provider of onnxruntime that runs the graphs there.
    """

    table: Path
    provider: str = CPU_PROVIDER

    def __post_init__(self) -> None:
        path = Path(self.table) if isinstance(self.table, str | Path) else Path()
        if not path.name or path.suffix == _PLAN_SUFFIX:
            raise ValueError(
                "table must be the file that the device's latencies are brought to, like "
                f"table=tables/phone.jsonl, but got {self.table!r:.80}"
            )
        object.__setattr__(self, "table", path)

    @property
    def name(self) -> str:
        return device_name("offline", self.provider)

    @property
    def is_live(self) -> bool:
        return False

    def describe(self) -> dict[str, Any]:
        try:
            header, _ = read_visits(self.table)
            checked_settings(LatencyTable(header, (), str(self.table)))
        except FileNotFoundError:
            raise DeviceError(self._how_to_begin()) from None
        except TableError as error:
            raise DeviceError(str(error)) from None
        if header["provider"] != self.provider:
            raise DeviceError(
                f"{self.table} was measured with {header['provider']!r:.80}, not with "
                f"{self.provider}; give another device.provider=… or another table=…"
            )
        return {name: header[name] for name in _DESCRIBED}

    def measure(self, plan: Path, table: Path, on_progress: Progress) -> None:
        """Return if ``table`` holds all that is wanted, and else leave the plan beside it.

        Raises:
            NotMeasuredYet: it does not.
            DeviceError: it is no table, or one of another device or other settings.
            ValueError: something else than a plan is where the plan would be.
        """
        try:
            with Plan(plan) as wanted:
                visits = self._visits(wanted, table)
                missing = len(Rounds(wanted, visits).lacking())
                on_progress(len(wanted.entries) - missing, len(wanted.entries))
        except ProfileError as error:
            raise DeviceError(str(error)) from None
        if not missing:
            return
        errand = Errand(
            plan=_plan_beside(table),
            table=table,
            is_begun=bool(visits),
            missing=missing,
            provider=self.provider,
        )
        check_replaceable(errand.plan)
        write_whole(errand.plan, plan.read_bytes())
        raise NotMeasuredYet([errand])

    def _visits(self, plan: Plan, table: Path) -> list[dict[str, Any]]:
        """The visits that ``table`` holds; none where it is not there yet."""
        if not table.exists():
            return []
        with table.open("rb") as file:
            records = parse_table(table, read_table(file))
        if records and records[0] != (header := table_header(plan, self.describe())):
            raise DeviceError(
                f"{table} was measured otherwise: {difference(records[0], header)}; bring the "
                "table that this device measured"
            )
        return records[1:]

    def _how_to_begin(self) -> str:
        plan, name = _plan_beside(self.table), self.table.name
        return (
            f"{self.table} is not there yet, and nothing else says what the device is: make a plan "
            f"with `python -m latency.plan --space … --out {plan}`, run `python profile.py "
            f"{plan.name} --out {name}` on the device and copy {name} back to {self.table}"
        )


def _plan_beside(table: Path) -> Path:
    return table.with_suffix(_PLAN_SUFFIX)
