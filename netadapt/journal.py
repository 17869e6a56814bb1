"""What a run has done so far, as files: ``steps/007/`` holds all of a step.

``step.json``: the proposals. ``003.json``, ``003.pt``: the accuracy of a proposal that was
fine-tuned, and its weights. ``clock_….jsonl``: visits of the network that was chosen.
``chosen.json``: the network that the step ended with. Each is written whole or not at all, so a
killed run goes on at the proposal where it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from nas.run_folder import Folder
from netadapt.changes import ProposalKind
from netadapt.proposals import Proposal
from search_spaces.architecture import Architecture

PROPOSALS, CHOSEN = "step.json", "chosen.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A network between two steps.

    Attributes:
        weights: the file of its ``state_dict``.
        accuracy: on the images kept for proposals, in 0..1.
        predicted_ms: by the table.
        measured_ms: by the clock, end to end.
        interval: half the 95 % interval of ``measured_ms``, relative.
    """

    architecture: Architecture
    weights: Path
    accuracy: float
    predicted_ms: float
    measured_ms: float
    interval: float = 0.0

    @property
    def surely_ms(self) -> float:
        """What it takes at most, as far as the clock can tell."""
        return self.measured_ms * (1 + self.interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A step that has ended.

    Attributes:
        change: what was chosen, for people.
        saved_ms: what that saves by the table, as it was when it was chosen.
        state: the network.
    """

    change: str
    saved_ms: float
    state: State


class StepFolder(Folder):
    """The files of one step."""

    def __init__(self, run: Path, number: int) -> None:
        super().__init__(run / "steps" / f"{number:03}")
        self.number = number

    def answer(self, proposal: int) -> Path:
        return self.path / f"{proposal:03}.json"

    def proposals(self) -> list[Proposal] | None:
        """What was proposed; ``None`` before."""
        saved = self.read_json(PROPOSALS)
        return None if saved is None else [_proposal(each) for each in saved]

    def propose(self, proposals: Sequence[Proposal]) -> None:
        self.write_json(
            PROPOSALS,
            [
                {
                    "kind": each.kind,
                    "change": each.change,
                    "architecture": each.architecture.to_yaml(),
                    "sources": each.sources,
                    "latency_ms": each.latency_ms,
                    "saved_ms": each.saved_ms,
                }
                for each in proposals
            ],
        )

    def result(self, proposal: int) -> dict[str, Any] | None:
        """``{"accuracy": …}`` or ``{"infeasible": "why"}``; ``None`` before."""
        found: dict[str, Any] | None = self.read_json(self.answer(proposal).name)
        return found

    def set_infeasible(self, proposal: int, reason: str) -> None:
        self.write_json(self.answer(proposal).name, {"infeasible": reason})

    def ended(self) -> Ended | None:
        """How the step ended; ``None`` before."""
        saved = self.read_json(CHOSEN)
        if saved is None:
            return None
        state = State(
            **{
                **saved["state"],
                "architecture": Architecture.from_yaml(saved["state"]["architecture"]),
                "weights": self.path / saved["state"]["weights"],
            }
        )
        return Ended(change=saved["change"], saved_ms=saved["saved_ms"], state=state)

    def end(self, ended: Ended, proposals: int) -> None:
        """End the step, or say anew how it ended; the other proposals' weights are deleted."""
        state = ended.state
        saved = {
            "architecture": state.architecture.to_yaml(),
            "weights": state.weights.name,
            "accuracy": state.accuracy,
            "predicted_ms": state.predicted_ms,
            "measured_ms": state.measured_ms,
            "interval": state.interval,
        }
        self.write_json(
            CHOSEN, {"change": ended.change, "saved_ms": ended.saved_ms, "state": saved}
        )
        for number in range(proposals):
            weights = self.answer(number).with_suffix(".pt")
            if weights != state.weights:
                weights.unlink(missing_ok=True)


def steps_ended(run: Path) -> Iterator[Ended]:
    """The steps of a run that have ended, in order."""
    for number in count(1):
        ended = StepFolder(run, number).ended()
        if ended is None:
            return
        yield ended


def _proposal(saved: dict[str, Any]) -> Proposal:
    return Proposal(
        kind=ProposalKind(saved["kind"]),
        change=saved["change"],
        architecture=Architecture.from_yaml(saved["architecture"]),
        sources=tuple(saved["sources"]),
        latency_ms=saved["latency_ms"],
        saved_ms=saved["saved_ms"],
    )
