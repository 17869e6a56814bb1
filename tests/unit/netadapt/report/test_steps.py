"""Steps as their files tell them, and which block of the seed a block is."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from netadapt.report.steps import origins, read_steps, trajectory_csv


def test_steps_are_read_from_their_files(folder: Path) -> None:
    steps = read_steps(folder)
    assert [step.change for step in steps] == [
        "blocks.3: left out",
        "blocks.3: left out <b>",
        "blocks.4.hidden_channels: 128 → 64",
    ]
    assert [step.accuracy for step in steps] == [0.875, 0.75, 0.8125]
    assert [step.predicted_ms for step in steps] == [9.0, 8.0, 7.0]
    assert [step.measured_ms for step in steps] == [9.9, 7.6, 7.14]
    assert [step.saved_ms for step in steps] == [1.0, 0.75, 1.25]
    assert [step.interval for step in steps] == [0.004] * 3
    assert [step.proposals for step in steps] == [3, 3, 3]
    assert [step.infeasible for step in steps] == [0, 2, 1]
    assert [step.drift for step in steps] == pytest.approx([0.10, -0.05, 0.02])
    # Of the proposal that was taken, not of the others.
    assert [step.sources for step in steps][:2] == [(0, 1, 2, 4, 5, 6), (0, 1, 2, 4, 5)]


def test_before_the_first_step_there_are_none(tmp_path: Path) -> None:
    assert read_steps(tmp_path) == []
    assert origins([], 4) == (0, 1, 2, 3)


def test_origins_are_followed_through_all_steps(folder: Path) -> None:
    # Blocks 3 and 4 of the seed are gone, so the last two were its blocks 5 and 6.
    assert origins(read_steps(folder), 7) == (0, 1, 2, 5, 6)


def test_the_trajectory_begins_with_the_seed(summary: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO(trajectory_csv(summary).decode())))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [float(row["measured_ms"]) for row in rows] == [10.5, 9.9, 7.6, 7.14]
    assert [float(row["predicted_ms"]) for row in rows] == [10.5, 9.0, 8.0, 7.0]
    assert [float(row["accuracy"]) for row in rows] == [0.9375, 0.875, 0.75, 0.8125]
    assert [float(row["drift"]) for row in rows[1:]] == pytest.approx([0.10, -0.05, 0.02])
    assert [row["saved_ms"] for row in rows] == ["", "1.0", "0.75", "1.25"]
    assert [row["infeasible"] for row in rows] == ["", "0", "2", "1"]
    assert rows[3]["change"] == "blocks.4.hidden_channels: 128 → 64"
