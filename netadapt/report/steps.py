"""The steps of a run as a table, read from their files."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netadapt.journal import PROPOSALS, Ended, StepFolder, steps_ended

FIGURES = (
    "change",
    "accuracy",
    "saved_ms",
    "predicted_ms",
    "measured_ms",
    "interval",
    "drift",
    "proposals",
    "infeasible",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step that has ended.

    Attributes:
        change: what the proposal that was taken made smaller. Blocks are numbered as they were
            before the step.
        accuracy: on the images kept for proposals, in 0..1.
        saved_ms: by the table.
        predicted_ms, measured_ms: by the table, and by the clock, end to end.
        interval: half the 95 % interval of ``measured_ms``, relative.
        proposals: how many there were.
        infeasible: how many of them could not be fine-tuned.
        sources: of each block of the network taken, the index in the network before.
    """

    change: str
    accuracy: float
    saved_ms: float
    predicted_ms: float
    measured_ms: float
    interval: float
    proposals: int
    infeasible: int
    sources: tuple[int, ...]

    @property
    def drift(self) -> float:
        """How much slower the clock finds the network than the table, relative."""
        return self.measured_ms / self.predicted_ms - 1

    def record(self) -> dict[str, Any]:
        """Every figure, as plain data."""
        return {name: getattr(self, name) for name in FIGURES}


def read_steps(run: Path) -> list[StepRecord]:
    """The steps in a run's folder, in order."""
    return [
        _record(StepFolder(run, number), ended)
        for number, ended in enumerate(steps_ended(run), start=1)
    ]


def _record(files: StepFolder, ended: Ended) -> StepRecord:
    # Not files.proposals(), which would build hundreds of networks for two figures of them.
    proposals: list[dict[str, Any]] | None = files.read_json(PROPOSALS)
    assert proposals is not None
    results = [files.result(number) for number in range(len(proposals))]
    state = ended.state
    return StepRecord(
        change=ended.change,
        accuracy=state.accuracy,
        saved_ms=ended.saved_ms,
        predicted_ms=state.predicted_ms,
        measured_ms=state.measured_ms,
        interval=state.interval,
        proposals=len(proposals),
        infeasible=sum(result is not None and "infeasible" in result for result in results),
        sources=tuple(proposals[int(state.weights.stem)]["sources"]),
    )


def origins(steps: Sequence[StepRecord], seed_blocks: int) -> tuple[int, ...]:
    """Of each block of the last network, its index in the seed.

    Args:
        steps: all steps of the run, from the seed on.
        seed_blocks: how many blocks the seed has.
    """
    indices = tuple(range(seed_blocks))
    for step in steps:
        indices = tuple(indices[source] for source in step.sources)
    return indices


def trajectory_csv(summary: Mapping[str, Any]) -> bytes:
    """A row a step, as CSV; row 0 is the seed.

    Args:
        summary: what ``summary.json`` holds.
    """
    text = io.StringIO()
    rows = csv.DictWriter(text, ["step", *FIGURES], lineterminator="\n")
    rows.writeheader()
    states = [summary["seed"], *summary["steps"]]
    rows.writerows({"step": number} | state for number, state in enumerate(states))
    return text.getvalue().encode()
