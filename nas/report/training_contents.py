"""All that a training's page shows, computed before any of it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latency.devices.base import DeviceError
from latency.measure import load_checked
from latency.table import LatencyTable
from nas.report.network import BlockRow, block_rows, total_ms
from nas.setup import table_path
from nas.train_setup import TrainRun
from nas.training.full import LOG
from nas.training.logs import LogRow, read_log
from search_spaces import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What a training's page shows.

    Attributes:
        summary: what ``summary.json`` holds.
        network: what was trained, as YAML text.
        blocks: the network's; with milliseconds where a table has them all.
        log: the rows of ``log.csv``; none where it has gone.
    """

    summary: Mapping[str, Any]
    network: str
    blocks: tuple[BlockRow, ...]
    log: tuple[LogRow, ...]


def training_report(
    run: TrainRun, architecture: Architecture, summary: Mapping[str, Any], folder: Path
) -> TrainingReport:
    """Compute a training's page.

    Args:
        architecture: what was trained.
        summary: what ``summary.json`` holds.
        folder: of the run, with its log.
    """
    blocks = block_rows(architecture, _table(run))
    if total_ms(blocks) is None:
        blocks = block_rows(architecture, None)
    return TrainingReport(
        summary=summary,
        network=architecture.to_yaml(),
        blocks=tuple(blocks),
        log=tuple(read_log(folder / LOG)),
    )


def _table(run: TrainRun) -> LatencyTable | None:
    """The device's table as searches name it; nothing is measured for a page."""
    path = table_path(None, run.device, run.measure)
    if not run.timed or not path.exists():
        return None
    try:
        return load_checked(run.device, path, run.measure)
    except (DeviceError, OSError, ValueError):
        return None
