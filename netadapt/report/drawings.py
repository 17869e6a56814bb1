"""What the page of a run draws: a thin layer on the summary and the layers."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from nas.report.drawings import Drawn
from nas.report.explorer import Explorer, Row
from nas.report.svg import Frame, Key, Mark, Shape, drawing, element, path_of
from nas.report.text import NONE, ms, percent, signed_percent

STEP = Mark(class_="step", radius=5.0)
SEED = Mark(class_="start", shape=Shape.SQUARE, radius=6.0)
BEST = Mark(class_="handed", shape=Shape.DIAMOND, radius=6.5)
_PREDICTED = Mark(class_="trial", radius=4.0)
_MOST_LABELS = 25
_FIGURES = ("change", "accuracy", "measured", "predicted", "drift", "proposals")


def explore_steps(summary: Mapping[str, Any]) -> Explorer:
    """The seed and every step: what was changed, and what it came to. The last is shown first."""
    seed = _row("the seed", summary["seed"], NONE, drift=NONE, proposals=NONE)
    steps = [
        _row(
            f"step {number}",
            step,
            step["change"],
            drift=signed_percent(step["drift"]),
            proposals=_proposals(step),
        )
        for number, step in enumerate(summary["steps"], start=1)
    ]
    rows = (seed, *steps)
    return Explorer(names=_FIGURES, rows=rows, first=len(rows) - 1)


def _row(title: str, state: Mapping[str, Any], change: str, *, drift: str, proposals: str) -> Row:
    figures = percent(state["accuracy"]), ms(state["measured_ms"]), ms(state["predicted_ms"])
    return title, change, *figures, drift, proposals


def _proposals(step: Mapping[str, Any]) -> str:
    infeasible = f", {step['infeasible']} of them infeasible" if step["infeasible"] else ""
    return f"{step['proposals']}{infeasible}"


def draw_trajectory(summary: Mapping[str, Any]) -> Drawn:
    """Accuracy over measured latency, step by step, where the seed takes what it took at first.

    The 95 % interval of the seed's accuracy is shaded: what differs by less may be chance.
    """
    states, ends = [summary["seed"], *summary["steps"]], summary["trajectory"]
    xs = [state["measured_ms"] for state in states]
    ys = [100 * state["accuracy"] for state in states]
    frame = Frame.around([*xs, ends["target_ms"], ends["best_ms"]], ys, top=20)
    children = frame.background("measured latency, ms", "accuracy on the images kept, %")
    children.append(_interval(frame, summary["accuracy"]["intervals"]["seed_proposals"]))
    children.append(frame.vertical(ends["target_ms"], "target"))
    children.append(frame.vertical(ends["best_ms"], "handed"))
    places = [(frame.x(x), frame.y(y)) for x, y in zip(xs, ys, strict=True)]
    children.append(element("path", d=path_of(places), class_="steps"))
    for number, (x, y) in enumerate(places):
        mark = STEP if number else SEED
        title = f"step {number}" if number else "the seed"
        children.append(mark.at(x, y, row=number, title=title))
    children += [
        _label(*places[number], str(number), above=position % 2 == 0)
        for position, number in enumerate(numbered(len(states) - 1))
    ]
    label = (
        "Accuracy over measured latency after each step, with the seed, the target and best.onnx"
    )
    legend = (
        Key.of_mark(STEP, "steps"),
        Key.of_mark(SEED, "seed"),
        Key.of_area("band", "95 % interval of the seed"),
        Key.of_line("target", "target"),
        Key.of_line("handed", "best.onnx"),
    )
    return Drawn(svg=drawing(frame.width, frame.height, children, label=label), legend=legend)


def _interval(frame: Frame, interval: Sequence[float]) -> ET.Element:
    """The band of the seed's accuracy, as far as the figure shows it."""
    ends = frame.y.low, frame.y.high
    bottom, top = (frame.y(min(max(100 * bound, ends[0]), ends[1])) for bound in interval)
    width = frame.x.end - frame.x.start
    return element(
        "rect", class_="band", x=frame.x.start, y=top, width=width, height=bottom - top
    )  # fmt: skip


def _label(x: float, y: float, text: str, *, above: bool) -> ET.Element:
    """A number beside a mark, out of its way."""
    place = y - 10 if above else y + 19
    return element("text", text=text, x=x, y=place, text_anchor="middle", class_="label")


def numbered(steps: int) -> list[int]:
    """The steps that have their numbers in the figure: all, or evenly some, and the last one."""
    every = max(1, -(-steps // _MOST_LABELS))
    return [number for number in range(1, steps + 1) if number % every == 0 or number == steps]


def draw_latencies(summary: Mapping[str, Any]) -> Drawn:
    """Latency after each step, by the table and by the clock."""
    states, ends = [summary["seed"], *summary["steps"]], summary["trajectory"]
    measured = [state["measured_ms"] for state in states]
    predicted = [state["predicted_ms"] for state in states]
    last = len(states) - 1
    frame = Frame.around(
        [0.0, max(1.0, float(last))],
        [*measured, *predicted, ends["target_ms"], ends["best_ms"]],
        height=280,
    )
    children = frame.background("step", "latency, ms", whole=True)
    children.append(frame.horizontal(ends["target_ms"], "target"))
    for found, line, mark in ((predicted, "dashed", _PREDICTED), (measured, "steps", STEP)):
        places = [(frame.x(step), frame.y(found_ms)) for step, found_ms in enumerate(found)]
        children.append(element("path", d=path_of(places), class_=line))
        children += [
            mark.at(x, y, row=step, title=f"step {step}: {ms(found[step])}")
            for step, (x, y) in enumerate(places)
        ]
    children.append(BEST.at(frame.x(last), frame.y(ends["best_ms"]), row=last))
    legend = (
        Key.of_mark(STEP, "measured"),
        Key.of_mark(_PREDICTED, "predicted"),
        Key.of_line("target", "target"),
        Key.of_mark(BEST, "best.onnx"),
    )
    label = "Latency after each step, predicted from the table and measured"
    return Drawn(svg=drawing(frame.width, frame.height, children, label=label), legend=legend)
