"""The page on which several runs stand beside each other."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.report.comparison import ComparedRun, differences
from nas.report.drawings import Drawn
from nas.report.explorer import Explorer
from nas.report.page import page_templates
from nas.report.summary import package_versions
from nas.report.svg import Frame, Key, Mark, Shape, drawing, element
from nas.report.text import NONE, millions, ms, percent

_MARKS = {
    "search": Mark(class_="step", radius=6.5),
    "NetAdapt": Mark(class_="winner", shape=Shape.SQUARE, radius=6.5),
    "training": Mark(class_="start", shape=Shape.DIAMOND, radius=6.0),
}
_FIGURES = (
    "kind", "verdict", "target", "predicted", "measured", "test accuracy", "MAdds", "parameters",
)  # fmt: skip
_NEAR = 14.0
_TEMPLATES = page_templates(Path(__file__).parent)


def render_comparison(runs: Sequence[ComparedRun], command: str) -> bytes:
    """A self-contained page of these runs, in order; they are numbered from 1."""
    versions = package_versions()
    timed = [run for run in runs if run.measured_ms is not None]
    page = _TEMPLATES.get_template("comparison.html.j2").render(
        run={"name": f"{len(runs)} runs", "environment": {"versions": versions}},
        runs=runs,
        differences=differences(runs),
        explorer=explore_runs(runs) if timed else None,
        figure=draw_runs(runs) if timed else None,
        conditions=tuple(runs[0].conditions),
        command=command,
    )
    return page.encode()


def explore_runs(runs: Sequence[ComparedRun]) -> Explorer:
    """What is shown of each run; the most accurate of those that met their target first."""
    rows = tuple(
        (
            f"{number}: {run.label}",
            run.kind,
            run.verdict or NONE,
            ms(run.target_ms),
            ms(run.predicted_ms),
            ms(run.measured_ms),
            percent(run.test_accuracy),
            millions(run.madds),
            millions(run.params),
        )
        for number, run in enumerate(runs, start=1)
    )
    timed = {row: ms_ for row, run in enumerate(runs) if (ms_ := run.measured_ms) is not None}
    best = max(
        timed, key=lambda row: (runs[row].verdict == "met", runs[row].test_accuracy, -timed[row])
    )
    return Explorer(names=_FIGURES, rows=rows, first=best)


def draw_runs(runs: Sequence[ComparedRun]) -> Drawn:
    """Test accuracy over measured latency, each run that was measured with its number."""
    points = {
        number: (run.measured_ms, 100 * run.test_accuracy)
        for number, run in enumerate(runs, start=1)
        if run.measured_ms is not None
    }
    frame = Frame.around(*zip(*points.values(), strict=True), top=24)
    children = frame.background("measured latency, ms", "test accuracy, %")
    places = {number: (frame.x(x), frame.y(y)) for number, (x, y) in points.items()}
    drawn = [runs[number - 1] for number in places]
    for run, (number, (x, y)) in zip(drawn, places.items(), strict=True):
        title = f"{run.label}: {percent(run.test_accuracy)}, {ms(run.measured_ms)}"
        children.append(_MARKS[run.kind].at(x, y, row=number - 1, title=title))
    for (x, y), text in labels_of(places).items():
        children.append(
            element("text", text=text, x=x, y=y - 12, text_anchor="middle", class_="label")
        )
    kinds = [kind for kind in _MARKS if any(run.kind == kind for run in drawn)]
    label = f"Test accuracy over measured latency of {len(drawn)} runs"
    return Drawn(
        svg=drawing(frame.width, frame.height, children, label=label),
        legend=tuple(Key.of_mark(_MARKS[kind], kind) for kind in kinds),
    )


def labels_of(places: Mapping[int, tuple[float, float]]) -> dict[tuple[float, float], str]:
    """The marks' numbers by where they stand, of their places by number; those that touch share."""
    labels: dict[tuple[float, float], str] = {}
    for number, place in places.items():
        near = next((other for other in labels if math.dist(other, place) < _NEAR), place)
        labels[near] = f"{labels[near]}, {number}" if near in labels else str(number)
    return labels
