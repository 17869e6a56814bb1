"""Figures whose marks can be looked at one by one, and the texts that are shown for them."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.report.front import Front
from nas.report.text import ms, percent
from search_spaces.spaces import Choice

Row = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """Rows of texts, one for each mark of a figure.

    Attributes:
        names: of what stands in a row after its title.
        rows: the title of a mark, then its texts.
        first: the row that is shown before anything is pointed at.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    first: int

    @property
    def shown(self) -> Row:
        """The row that is shown first."""
        return self.rows[self.first]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceGrid:
    """The choices of a space as a table: a row a stage, a column an option.

    Attributes:
        cells: of each stage, the place in an explorer's row of each option's text; ``None``: the
            stage has no such option.
    """

    options: tuple[str, ...]
    stages: tuple[str, ...]
    cells: tuple[tuple[int | None, ...], ...]


FIGURES = ("accuracy, proxy training", "latency, predicted", "MAdds", "parameters", "reward")
WHOLE = "network"
"""Stands for a stage where a choice is about all of a network, such as its image size."""


def explore_front(front: Front) -> Explorer:
    """Every point of the figure: what it was found to be, and its choices."""
    names = tuple(front.points[0].candidate.choices)
    rows = []
    for point in front.points:
        each = point.candidate
        figures = (
            percent(each.accuracy),
            ms(each.latency_ms),
            f"{each.madds / 1e6:.1f} M",
            f"{each.params / 1e6:.2f} M",
            f"{point.reward:.4f}",
        )
        choices = tuple(choice_text(each.choices[name]) for name in names)
        rows.append((point.label, *figures, *choices))
    return Explorer(names=(*FIGURES, *names), rows=tuple(rows), first=front.winner)


def choice_grid(names: Sequence[str]) -> ChoiceGrid:
    """Choices called ``stage.option``, in rows and columns.

    Args:
        names: of the choices, as in the explorer of their networks.
    """
    parts = [_parts(name) for name in names]
    places = {part: 1 + len(FIGURES) + number for number, part in enumerate(parts)}
    stages = tuple(dict.fromkeys(stage for stage, _ in parts))
    options = tuple(dict.fromkeys(option for _, option in parts))
    cells = tuple(tuple(places.get((stage, option)) for option in options) for stage in stages)
    return ChoiceGrid(options=options, stages=stages, cells=cells)


def _parts(name: str) -> tuple[str, str]:
    stage, dot, option = name.rpartition(".")
    return (stage if dot else WHOLE), option


def choice_text(value: Choice) -> str:
    """A choice's value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
