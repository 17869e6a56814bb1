"""The page on which several runs stand beside each other."""

import math
from collections.abc import Sequence
from pathlib import Path

from nas.report.comparison import ComparedRun, differences
from nas.report.drawings import Drawn
from nas.report.explorer import Explorer
from nas.report.page import page_templates
from nas.report.summary import package_versions
from nas.report.svg import Frame, Key, Mark, Shape, drawing, element
from nas.report.text import millions, ms, percent

_MARKS = {
    "search": Mark(class_="step", radius=6.5),
    "NetAdapt": Mark(class_="winner", shape=Shape.SQUARE, radius=6.5),
}
_FIGURES = (
    "kind", "verdict", "target", "predicted", "measured", "test accuracy", "MAdds", "parameters",
)  # fmt: skip
_NEAR = 14.0
_TEMPLATES = page_templates(Path(__file__).parent)


def render_comparison(runs: Sequence[ComparedRun], command: str) -> bytes:
    """A self-contained page of these runs, in order; they are numbered from 1."""
    versions = package_versions()
    page = _TEMPLATES.get_template("comparison.html.j2").render(
        run={"name": f"{len(runs)} runs", "environment": {"versions": versions}},
        runs=runs,
        differences=differences(runs),
        explorer=explore_runs(runs),
        figure=draw_runs(runs),
        conditions=tuple(runs[0].conditions),
        command=command,
    )
    return page.encode()


def explore_runs(runs: Sequence[ComparedRun]) -> Explorer:
    """What is shown of each mark; the most accurate of those that met their target first."""
    rows = tuple(
        (
            f"{number}: {run.label}",
            run.kind,
            run.verdict,
            ms(run.target_ms),
            ms(run.predicted_ms),
            ms(run.measured_ms),
            percent(run.test_accuracy),
            millions(run.madds),
            millions(run.params),
        )
        for number, run in enumerate(runs, start=1)
    )
    best = max(runs, key=lambda run: (run.verdict == "met", run.test_accuracy, -run.measured_ms))
    return Explorer(names=_FIGURES, rows=rows, first=list(runs).index(best))


def draw_runs(runs: Sequence[ComparedRun]) -> Drawn:
    """Test accuracy over measured latency, each run with its number."""
    frame = Frame.around(
        [run.measured_ms for run in runs], [100 * run.test_accuracy for run in runs], top=24
    )
    children = frame.background("measured latency, ms", "test accuracy, %")
    places = [(frame.x(run.measured_ms), frame.y(100 * run.test_accuracy)) for run in runs]
    for row, (run, (x, y)) in enumerate(zip(runs, places, strict=True)):
        title = f"{run.label}: {percent(run.test_accuracy)}, {ms(run.measured_ms)}"
        children.append(_MARKS[run.kind].at(x, y, row=row, title=title))
    for (x, y), text in labels_of(places).items():
        children.append(
            element("text", text=text, x=x, y=y - 12, text_anchor="middle", class_="label")
        )
    kinds = [kind for kind in _MARKS if any(run.kind == kind for run in runs)]
    label = f"Test accuracy over measured latency of {len(runs)} runs"
    return Drawn(
        svg=drawing(frame.width, frame.height, children, label=label),
        legend=tuple(Key.of_mark(_MARKS[kind], kind) for kind in kinds),
    )


def labels_of(places: Sequence[tuple[float, float]]) -> dict[tuple[float, float], str]:
    """The marks' numbers, from 1, by where they stand; marks that touch share a label."""
    labels: dict[tuple[float, float], str] = {}
    for number, place in enumerate(places, start=1):
        near = next((other for other in labels if math.dist(other, place) < _NEAR), place)
        labels[near] = f"{labels[near]}, {number}" if near in labels else str(number)
    return labels
