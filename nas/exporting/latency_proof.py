"""What a device says of the very files that are handed over."""

import hashlib
from collections.abc import Mapping
from typing import Any

import onnx

from latency.measure import measure_entries
from latency.plan import PlanEntry, no_progress
from latency.side_by_side import SideBySide, measure_side_by_side
from latency.table import Entry
from nas.exporting.metadata import graph_digest
from nas.exporting.settings import Export
from nas.units import verdict
from search_spaces.precision import Precision


def prove_latency(
    export: Export, files: Mapping[Precision, tuple[str, bytes]]
) -> dict[Precision, dict[str, Any]]:
    """Time files on the run's device, int8 in turns with fp32 where there are both.

    A graph that has been timed there before is not timed again.

    Args:
        files: name and content.

    Returns:
        by precision, what is proven: target, predicted, measured, verdict, and by what.

    Raises:
        DeviceError, TableError, OSError: measuring failed.
        NotMeasuredYet: somebody must carry the files to the device.
    """
    entries = {precision: _entry(*file) for precision, file in files.items()}
    digest = hashlib.sha256("".join(entry.key for entry in entries.values()).encode()).hexdigest()
    path = export.folder / f"measured_{digest[:12]}.jsonl"
    if len(entries) == 1:
        ((precision, entry),) = entries.items()
        (found,) = measure_entries(export.device, path, [entry], export.measure, no_progress)
        return {precision: _proof(export, precision, found, files[precision][1])}
    beside = measure_side_by_side(
        export.device,
        path,
        entries[Precision.INT8],
        entries[Precision.FP32],
        export.measure,
    )
    return {
        precision: _proof(export, precision, found, files[precision][1]) | shares
        for precision, found, shares in (
            (Precision.FP32, beside.second, {}),
            (Precision.INT8, beside.first, _shares(beside)),
        )
    }


def _shares(beside: SideBySide) -> dict[str, Any]:
    return {"share_of_fp32": beside.ratio, "share_interval": beside.interval}


def _entry(name: str, content: bytes) -> PlanEntry:
    (given,) = onnx.load_from_string(content).graph.input
    return PlanEntry(
        key=f"{name} {graph_digest(content)[:12]}",
        graph=content,
        input_shape=tuple(each.dim_value for each in given.type.tensor_type.shape.dim),
    )


def _proof(export: Export, precision: Precision, found: Entry, content: bytes) -> dict[str, Any]:
    """A prediction is of the precision that the run's table was measured in, and no other."""
    said = export.run.summary.get("latency") or {}  # a training may be timed or not
    target_ms, measured_ms = said.get("target_ms"), found.median_ms
    predicted_ms = said.get("predicted_ms") if precision == export.measure.precision else None
    return {
        "target_ms": target_ms,
        "predicted_ms": predicted_ms,
        "measured_ms": measured_ms,
        "interval": found.interval,
        "runs": found.runs,
        "verdict": None if target_ms is None else verdict(measured_ms, target_ms),
        "threads": export.measure.threads,
        "batch": export.measure.batch,
        **export.device.describe(),
        "graph_sha256": graph_digest(content),
    }
