"""What a run has done so far, as files: ``steps/007/`` holds all of a step.

``step.json``: the proposals. ``003.json``, ``003.pt``: the accuracy of a proposal that was
fine-tuned, and its weights. ``chosen.json``: the network that the step ended with. Each is written
whole or not at all, so a killed run goes on at the proposal where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
        predicted_ms, measured_ms: by the table, and by the clock, end to end.
    """

    architecture: Architecture
    weights: Path
    accuracy: float
    predicted_ms: float
    measured_ms: float


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

    def chosen(self) -> State | None:
        """The network that the step ended with; ``None`` before."""
        saved = self.read_json(CHOSEN)
        if saved is None:
            return None
        return State(
            architecture=Architecture.from_yaml(saved["architecture"]),
            weights=self.path / saved["weights"],
            accuracy=saved["accuracy"],
            predicted_ms=saved["predicted_ms"],
            measured_ms=saved["measured_ms"],
        )

    def choose(self, state: State, change: str, proposals: int) -> None:
        """End the step; the other proposals' weights are deleted."""
        self.write_json(
            CHOSEN,
            {
                "change": change,
                "architecture": state.architecture.to_yaml(),
                "weights": state.weights.name,
                "accuracy": state.accuracy,
                "predicted_ms": state.predicted_ms,
                "measured_ms": state.measured_ms,
            },
        )
        for number in range(proposals):
            weights = self.answer(number).with_suffix(".pt")
            if weights != state.weights:
                weights.unlink(missing_ok=True)


def _proposal(saved: dict[str, Any]) -> Proposal:
    return Proposal(
        kind=ProposalKind(saved["kind"]),
        change=saved["change"],
        architecture=Architecture.from_yaml(saved["architecture"]),
        sources=tuple(saved["sources"]),
        latency_ms=saved["latency_ms"],
        saved_ms=saved["saved_ms"],
    )
