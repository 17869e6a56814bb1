"""Fill a table with what it lacks, and measure whole networks end to end."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from latency.devices.base import Device
from latency.plan import MeasureSettings, PlanEntry, Progress, entry_builders, write_plan
from latency.table import Entry, LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape


def ensure_table(
    device: Device,
    path: Path,
    blocks: Iterable[tuple[Block, TensorShape]],
    networks: Iterable[Architecture],
    settings: MeasureSettings,
    on_progress: Progress,
) -> LatencyTable:
    """The table at ``path``, with an entry for every block and network; missing ones are measured.

    Raises:
        TableError: the table there is damaged, or of another device or other settings.
        DeviceError: measuring failed.
        OSError: the table cannot be read or written.
    """
    builders = entry_builders(blocks, networks, batch=settings.batch)
    held = load_checked(device, path, settings) if path.exists() and path.stat().st_size else ()
    missing = [build for key, build in builders.items() if key not in held]
    if missing:
        _run_plan(device, path, missing, settings, on_progress)
    return load_checked(device, path, settings)


def measure_entries(
    device: Device,
    path: Path,
    entries: Sequence[PlanEntry],
    settings: MeasureSettings,
    on_progress: Progress,
) -> list[Entry]:
    """Measure graphs and return their entries, in order. Entries that ``path`` holds are reused."""
    builders: list[Callable[[], PlanEntry]] = [lambda entry=entry: entry for entry in entries]  # type: ignore[misc]
    _run_plan(device, path, builders, settings, on_progress)
    table = load_checked(device, path, settings)
    return [table.entry(entry.key) for entry in entries]


def load_checked(device: Device, path: Path, settings: MeasureSettings) -> LatencyTable:
    """The table at ``path``, refused if it is of another device or of other settings."""
    table = LatencyTable.load(path)
    table.check(**device.describe(), threads=settings.threads, batch=settings.batch)
    return table


def _run_plan(
    device: Device,
    path: Path,
    builders: Sequence[Callable[[], PlanEntry]],
    settings: MeasureSettings,
    on_progress: Progress,
) -> None:
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        plan = Path(folder) / "plan.zip"
        write_plan(plan, builders, settings, on_progress)
        device.measure(plan, path, on_progress)
