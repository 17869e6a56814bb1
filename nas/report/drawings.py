"""What a search's page draws: a thin layer on what is computed elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from nas.report.front import Front, FrontPoint, Role
from nas.report.history import HistoryPoint
from nas.report.seeds import SeedNetwork
from nas.report.svg import Axis, Frame, Key, Mark, Shape, drawing, element, path_of, text_width
from nas.report.text import ms, percent, signed_percent

MARKS = {
    Role.TRIAL: Mark(class_="trial", radius=4.5),
    Role.FRONT: Mark(class_="on-front", radius=5.5),
    Role.BASE: Mark(class_="base", shape=Shape.SQUARE, radius=6.0),
    Role.WINNER: Mark(class_="winner", shape=Shape.DIAMOND, radius=7.5),
}
IS_BEST = Mark(class_="is-best", radius=5.5)
BELOW = Mark(class_="trial", shape=Shape.ARROW, radius=6.0)
"""A mark that is farther down than the figure reaches, at its lower end."""
_LANE, _MOST_LANES, _FARTHEST, _MANY_TIMES = 15.0, 4, 1.15, 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A figure: SVG as text, and its legend."""

    svg: str
    legend: tuple[Key, ...]


def draw_front(front: Front, *, label: str) -> Drawn:
    """Accuracy over predicted latency: every trial, the front, the target, published networks."""
    points = front.points
    latencies = [point.candidate.latency_ms for point in points] + [front.target_ms]
    seeds = [seed for seed in front.seeds if seed.latency_ms <= _FARTHEST * max(latencies)]
    xs = latencies + [seed.latency_ms for seed in seeds]
    is_log = max(xs) > _MANY_TIMES * min(xs)
    lanes = _lanes(seeds, Frame.around(xs, [0.0], is_log=is_log).x)
    floor = lower_end([100 * point.candidate.accuracy for point in points])
    frame = Frame.around(
        xs,
        [max(floor, 100 * point.candidate.accuracy) for point in points],
        top=18 + _LANE * (1 + max(lanes, default=-1)),
        is_log=is_log,
    )
    children = frame.background("predicted latency, ms", "accuracy after proxy training, %")
    children += [
        _seed(frame, seed, lane) for seed, lane in zip(seeds, lanes, strict=True)
    ]  # fmt: skip
    children.append(frame.vertical(front.target_ms, "target"))
    children.append(_front_line(frame, front.line))
    # What matters most is drawn last, above the rest.
    order = sorted(range(len(points)), key=lambda n: list(Role).index(points[n].role))
    children += [_point(frame, points[number], number, floor) for number in order]
    keys = [Key.of_mark(MARKS[role], _plural(role)) for role in Role if _has(points, role)]
    if any(100 * point.candidate.accuracy < floor for point in points):
        keys.append(Key.of_mark(BELOW, "below the figure"))
    keys.append(Key.of_line("target", f"target, {front.target_ms:g} ms"))
    if seeds:
        keys.append(Key.of_line("seed", "published networks, by the table; accuracy unknown"))
    svg = drawing(frame.width, frame.height, children, label=label)
    return Drawn(svg=svg, legend=tuple(keys))


def _has(points: Sequence[FrontPoint], role: Role) -> bool:
    return any(point.role is role for point in points)


def _plural(role: Role) -> str:
    return "trials" if role is Role.TRIAL else str(role)


def _point(frame: Frame, point: FrontPoint, row: int, floor: float) -> ET.Element:
    each = point.candidate
    title = f"{point.label}: {percent(each.accuracy)}, {ms(each.latency_ms)}"
    x = frame.x(each.latency_ms)
    if 100 * each.accuracy < floor:
        return BELOW.at(x, frame.y.start - BELOW.radius, row=row, title=title)
    return MARKS[point.role].at(x, frame.y(100 * each.accuracy), row=row, title=title)


def lower_end(values: Sequence[float]) -> float:
    """The least value that the others leave to be told apart.

    What is farther below the quarter of the values than three times the distance between quarters
    (Tukey's outer fence) would press all the others together at the top.
    """
    low, high = np.quantile(values, (0.25, 0.75))
    fence = low - 3 * (high - low)
    return min(value for value in values if value >= fence)


def _front_line(frame: Frame, line: Sequence[FrontPoint]) -> ET.Element:
    """Steps: between two networks of the front, the faster one is the best there is."""
    corners: list[tuple[float, float]] = []
    for point in line:
        x, y = frame.x(point.candidate.latency_ms), frame.y(100 * point.candidate.accuracy)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    corners.append((frame.x.end, corners[-1][1]))
    return element("path", d=path_of(corners), class_="front")


def _lanes(seeds: Sequence[SeedNetwork], axis: Axis) -> list[int]:
    """A lane for the label of each, so that none covers another; the last takes what is left."""
    ends = [float("-inf")] * _MOST_LANES
    lanes = []
    for seed in seeds:
        start, end = _span(seed, axis)
        free = [lane for lane, taken in enumerate(ends) if taken + 8 < start]
        lane = free[0] if free else _MOST_LANES - 1
        ends[lane] = max(ends[lane], end)
        lanes.append(lane)
    return lanes


def _span(seed: SeedNetwork, axis: Axis) -> tuple[float, float]:
    """Where its label starts and ends: beside its line, within the figure."""
    width, place = text_width(seed.label), axis(seed.latency_ms)
    start = min(place - width / 2, axis.end - width)
    return max(axis.start, start), max(axis.start, start) + width


def _seed(frame: Frame, seed: SeedNetwork, lane: int) -> ET.Element:
    place, (start, _) = frame.x(seed.latency_ms), _span(seed, frame.x)
    y = 12 + _LANE * lane
    title = element("title", text=f"{seed.label}: {ms(seed.latency_ms)} by the table")
    line = element("path", d=path_of([(place, y + 3), (place, frame.y.start)]), class_="seed")
    name = element("text", text=seed.label, x=start, y=y, class_="seed label")
    return element("g", title, line, name)


def draw_history(points: Sequence[HistoryPoint], *, rows: dict[int, int], label: str) -> Drawn:
    """The reward of every trial, and the best so far.

    Args:
        rows: trial number → its row in the explorer; trials without one are not drawn.
    """
    floor = lower_end([point.reward for point in points])
    frame = Frame.around(
        [float(point.number) for point in points] + [points[0].number + 1.0],
        [max(floor, point.reward) for point in points],
        height=280,
    )
    children = frame.background("trial", "reward", whole=True)
    corners: list[tuple[float, float]] = []
    for point in points:
        x, y = frame.x(point.number), frame.y(max(floor, point.best))
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    children.append(element("path", d=path_of(corners), class_="best"))
    children += [
        _trial(frame, point, rows[point.number], floor)
        for point in sorted(points, key=lambda each: each.is_best)
        if point.number in rows
    ]
    has_lower = any(point.reward < floor for point in points)
    legend = (
        Key.of_mark(MARKS[Role.TRIAL], "trials"),
        Key.of_mark(IS_BEST, "better than all before"),
        Key.of_line("best", "best so far"),
        *([Key.of_mark(BELOW, "below the figure")] if has_lower else []),
    )
    return Drawn(svg=drawing(frame.width, frame.height, children, label=label), legend=legend)


def _trial(frame: Frame, point: HistoryPoint, row: int, floor: float) -> ET.Element:
    title, x = f"trial {point.number}: {point.reward:.4f}", frame.x(point.number)
    if point.reward < floor:
        return BELOW.at(x, frame.y.start - BELOW.radius, row=row, title=title)
    mark = IS_BEST if point.is_best else MARKS[Role.TRIAL]
    return mark.at(x, frame.y(point.reward), row=row, title=title)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicted:
    """A network that was predicted and measured, end to end, both of an undisturbed machine."""

    name: str
    predicted_ms: float
    measured_ms: float
    is_finalist: bool = False

    @property
    def error(self) -> float:
        """Relative; positive where too slow a network is predicted."""
        return self.predicted_ms / self.measured_ms - 1


_VALIDATED = Mark(class_="trial")
_FINALIST = Mark(class_="winner", shape=Shape.DIAMOND, radius=6.0)


def draw_errors(networks: Sequence[Predicted], *, label: str) -> Drawn:
    """How far predictions are off, over the measured latency, with the band of ±5 %."""
    errors = [100 * network.error for network in networks]
    frame = Frame.around(
        [network.measured_ms for network in networks], [*errors, -6.0, 6.0], height=280
    )
    children = frame.background("measured latency, ms", "predicted − measured, %")
    top, bottom = frame.y(5.0), frame.y(-5.0)
    width = frame.x.end - frame.x.start
    band: dict[str, Any] = {"x": frame.x.start, "y": top, "width": width, "height": bottom - top}
    children.append(element("rect", class_="band", **band))
    children.append(frame.horizontal(0.0, "zero"))
    for network, error in zip(networks, errors, strict=True):
        mark = _FINALIST if network.is_finalist else _VALIDATED
        said = f"{ms(network.predicted_ms)} predicted, {ms(network.measured_ms)} measured"
        title = f"{network.name}: {said}, {signed_percent(network.error)}"
        children.append(mark.at(frame.x(network.measured_ms), frame.y(error), title=title))
    keys = [Key.of_area("band", "within ±5 %")]
    if any(not network.is_finalist for network in networks):
        keys.insert(0, Key.of_mark(_VALIDATED, "networks that the table was validated with"))
    if any(network.is_finalist for network in networks):
        keys.insert(0, Key.of_mark(_FINALIST, "finalists of this search"))
    return Drawn(svg=drawing(frame.width, frame.height, children, label=label), legend=tuple(keys))
