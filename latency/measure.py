"""Fill a table with what it lacks, and measure whole networks end to end."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from latency.devices.base import Device
from latency.keys import block_key
from latency.plan import (
    REFERENCE_BLOCK,
    REFERENCE_SHAPE,
    MeasureSettings,
    PlanEntry,
    Progress,
    entry_builders,
    write_plan,
)
from latency.profile import MAX_FILE_BYTES, PRECISION
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
    held = load_checked(device, path, settings) if _has_header(path) else None
    missing = [build for key, build in builders.items() if held is None or key not in held]
    if held is not None and not missing:
        return held
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
    builders = [partial(_given, entry) for entry in entries]
    _run_plan(device, path, builders, settings, on_progress)
    table = load_checked(device, path, settings)
    return [table.entry(entry.key) for entry in entries]


def _given(entry: PlanEntry) -> PlanEntry:
    return entry


def load_checked(device: Device, path: Path, settings: MeasureSettings) -> LatencyTable:
    """The table at ``path``, refused if it is of another device or of other settings."""
    table = LatencyTable.load(path)
    table.check(
        **device.describe(),
        threads=settings.threads,
        batch=settings.batch,
        precision=PRECISION,
        reference=block_key(REFERENCE_BLOCK, REFERENCE_SHAPE),
    )
    return table


def _has_header(path: Path) -> bool:
    """Whether there is a table; a run that was killed at once leaves none, or half a header."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.readline(MAX_FILE_BYTES).endswith(b"\n")


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
