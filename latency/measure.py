"""Fill a table with what it lacks, and measure whole networks end to end."""

import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from latency.context import After
from latency.devices.base import Device
from latency.keys import network_key
from latency.plan import (
    MeasureSettings,
    PlanEntry,
    Progress,
    entry_builders,
    no_progress,
    reference_network,
    write_plan,
)
from latency.profile import MAX_FILE_BYTES, SITTING
from latency.table import Entry, LatencyTable
from search_spaces.architecture import Architecture
from search_spaces.blocks import Block
from search_spaces.shapes import TensorShape

SPEED_TOLERANCE = 0.15
"""How far entries may be from their latencies in a table that is used again."""


def ensure_table(
    device: Device,
    path: Path,
    steps: Iterable[tuple[Block, TensorShape, After]],
    networks: Mapping[Architecture, str],
    settings: MeasureSettings,
    on_progress: Progress,
    warn: Callable[[str], None] | None = None,
    company: Iterable[tuple[Block, TensorShape, After]] = (),
) -> LatencyTable:
    """The table at ``path``, with an entry for every block and network; missing ones are measured.

    Where the table holds some of them, these keep the missing ones company (``profile.py``): few
    entries by themselves would be measured under other conditions than the others were.

    Args:
        steps: blocks in their places.
        networks: whole networks, and what each is measured for.
        warn: told where the table is complete and the machine no longer as fast as it says.
        company: blocks in their places that keep the missing ones company, as far as the table
            holds them. By default it is drawn from what it holds of ``steps``.

    Raises:
        TableError: the table there is damaged, or of another device or other settings.
        DeviceError: measuring failed.
        OSError: the table cannot be read or written.
    """
    builders = entry_builders(steps, networks, settings)
    held = load_checked(device, path, settings) if has_header(path) else None
    if held is not None:
        known = [key for key in builders if _is_measured(held, key, settings)]
        lacking = builders.keys() - known
        if not lacking:
            if warn is not None and device.is_live:
                _check_speed(device, held, builders, settings, warn)
            return held
        beside = entry_builders(company, {}, settings)
        given = [key for key in beside if key in held and key not in lacking]
        for key in _some_blocks(held, given or known):
            builders[key] = partial(_as_company, beside.get(key) or builders[key])
    run_plan(device, path, list(builders.values()), settings, on_progress)
    return load_checked(device, path, settings)


def _is_measured(table: LatencyTable, key: str, settings: MeasureSettings) -> bool:
    return key in table and table.entry(key).rounds >= settings.min_rounds


def _some_blocks(table: LatencyTable, keys: Sequence[str]) -> list[str]:
    """As many as a sitting has, at random; whole networks are left out."""
    blocks = [key for key in keys if not table.entry(key).parts]
    return random.Random(0).sample(blocks, min(SITTING, len(blocks)))  # noqa: S311


def _as_company(build: Callable[[], PlanEntry]) -> PlanEntry:
    return replace(build(), company=True)


def measure_entries(
    device: Device,
    path: Path,
    entries: Sequence[PlanEntry],
    settings: MeasureSettings,
    on_progress: Progress,
) -> list[Entry]:
    """Measure graphs and return their entries, in order. Visits that ``path`` holds are reused."""
    builders = [partial(_given, entry) for entry in entries]
    run_plan(device, path, builders, settings, on_progress)
    table = load_checked(device, path, settings)
    return [table.entry(entry.key) for entry in entries]


def _given(entry: PlanEntry) -> PlanEntry:
    return entry


def load_checked(device: Device, path: Path, settings: MeasureSettings) -> LatencyTable:
    """The table at ``path``, refused if it is of another device or of other settings."""
    table = LatencyTable.load(path)
    table.check(
        **device.describe(), **settings.table_fields, reference=network_key(reference_network())
    )
    return table


def has_header(path: Path) -> bool:
    """Whether there is a table; a run that was killed at once leaves none, or half a header."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return file.readline(MAX_FILE_BYTES).endswith(b"\n")


def run_plan(
    device: Device,
    path: Path,
    builders: Sequence[Callable[[], PlanEntry]],
    settings: MeasureSettings,
    on_progress: Progress,
) -> None:
    """Measure what the table at ``path`` lacks of these entries."""
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        plan = Path(folder) / "plan.zip"
        write_plan(plan, builders, settings, on_progress)
        device.measure(plan, path, on_progress)


def _check_speed(
    device: Device,
    table: LatencyTable,
    builders: Mapping[str, Callable[[], PlanEntry]],
    settings: MeasureSettings,
    warn: Callable[[str], None],
) -> None:
    """Tell a person whose machine is not as fast as the table says."""
    keys = _some_blocks(table, list(builders))
    once = replace(settings, min_rounds=1, max_rounds=1)
    with tempfile.TemporaryDirectory(prefix="chronas-") as folder:
        path = Path(folder) / "probe.jsonl"
        run_plan(device, path, [builders[key] for key in keys], once, no_progress)
        now = LatencyTable.load(path)
    change = median(now.entry(key).latency_ms / table.entry(key).latency_ms for key in keys) - 1
    if abs(change) > SPEED_TOLERANCE:
        warn(
            f"this machine is now {abs(change):.0%} {'slower' if change > 0 else 'faster'} than in "
            f"{table.source}, in the median of {len(keys)} of its entries. If that lasts, measure "
            "anew under another file name"
        )
