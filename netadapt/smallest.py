"""What a run could come to at most."""

from collections.abc import Iterator

from latency.context import walk_in_context
from netadapt.changes import Change, places
from netadapt.edits import edited_steps, with_steps
from netadapt.proposals import ProposalSettings
from search_spaces.architecture import Architecture


def smallest_descendant(architecture: Architecture, settings: ProposalSettings) -> Architecture:
    """The network with every change of ``settings.kinds`` made, as far as each can go.

    No run makes it smaller, so what it takes is about the least that a target can be.
    """
    while True:
        changed = next(_changed(architecture, settings), None)
        if changed is None:
            return architecture
        architecture = changed


def _changed(architecture: Architecture, settings: ProposalSettings) -> Iterator[Architecture]:
    """The network with one place as small as it can be, for each that can be smaller."""
    for changes in places(architecture, settings.kinds, settings.divisor):
        for change in reversed(list(changes)):
            smaller = _apply(architecture, change)
            if smaller is not None and smaller.blocks != architecture.blocks:
                yield smaller
                break


def _apply(architecture: Architecture, change: Change) -> Architecture | None:
    """``None``: the change makes no network."""
    try:
        steps = edited_steps(walk_in_context(architecture), change.edits())
        return with_steps(architecture, steps)[0]
    except ValueError:
        return None
