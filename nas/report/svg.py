"""SVG as text, from plain numbers: elements, axes, and a frame to draw in.

Colours are in the page's style sheet, where they follow the reader's light or dark scheme: elements
have classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree as ET

_CHARACTER_PX = 6.9
"""The width of a character of a label, in the unit of the drawings: 12 px system sans-serif."""
MINUS, _HYPHEN = "\N{MINUS SIGN}", "-"


def element(
    name: str, *children: ET.Element, text: str | None = None, **attributes: object
) -> ET.Element:
    """``element("text", text="a", class_="quiet", text_anchor="end", x=1.0)``.

    A trailing ``_`` is left out of attributes' names, others become hyphens.
    """
    made = ET.Element(name)
    for key, value in attributes.items():
        if value is not None:
            made.set(key.rstrip("_").replace("_", "-"), _attribute(value))
    made.text = text
    made.extend(children)
    return made


def _attribute(value: object) -> str:
    return f"{round(value, 2):g}" if isinstance(value, float) else str(value)


def drawing(
    width: float,
    height: float,
    children: Sequence[ET.Element],
    *,
    label: str | None,
    class_: str = "chart",
    stretches: bool = False,
) -> str:
    """An ``svg`` element as text, escaped, for HTML.

    Args:
        label: what it shows, for who cannot see it; ``None``: the text around it says all.
        stretches: whether it fills the room that it is given, whatever its shape.
    """
    made = element("svg", *children, class_=class_, width=width, height=height)
    made.set("viewBox", f"0 0 {width:g} {height:g}")
    if stretches:
        made.set("preserveAspectRatio", "none")
    if label is None:
        made.set("aria-hidden", "true")
    else:
        made.set("role", "img")
        made.set("aria-label", label)
    return ET.tostring(made, encoding="unicode", short_empty_elements=False)


def path_of(points: Sequence[tuple[float, float]]) -> str:
    """Straight lines through the points, for ``d``."""
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)


def text_width(text: str) -> float:
    """About how wide a label is drawn."""
    return _CHARACTER_PX * len(text)


def number(value: float) -> str:
    """A tick's label."""
    return f"{value:.6g}".replace(_HYPHEN, MINUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from ``low`` to ``high`` on pixels from ``start`` to ``end``.

    Attributes:
        is_log: whether equal ratios, not equal differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    @staticmethod
    def around(
        values: Sequence[float],
        *,
        start: float,
        end: float,
        margin: float = 0.06,
        is_log: bool = False,
    ) -> "Axis":
        """An axis on which all of the values have room; one value has its size as room."""
        low, high = min(values), max(values)
        if is_log:
            ratio = (high / low) ** margin if high > low else 1.05
            return Axis(low=low / ratio, high=high * ratio, start=start, end=end, is_log=True)
        room = margin * ((high - low) or abs(high) or 1.0)
        return Axis(low=low - room, high=high + room, start=start, end=end)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values within the axis, at most so many."""
        return self._ratio_ticks(most) if self.is_log else self._even_ticks(most)

    def _even_ticks(self, most: int) -> list[float]:
        """1, 2 or 5 times a power of ten apart."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / most))
        step = next(m * power for m in (1, 2, 5, 10, 20) if span / (m * power) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]

    def _ratio_ticks(self, most: int) -> list[float]:
        """The most of these that are not too many: 1 to 9, or fewer, times powers of ten."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ticks: list[float] = []
        for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            finer = [digit * 10.0**power for power in powers for digit in digits]
            finer = [tick for tick in finer if self.low <= tick <= self.high]
            if len(finer) > most:
                break
            ticks = finer
        return ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a chart is drawn: its size, and the axes within it."""

    width: float
    height: float
    x: Axis
    y: Axis

    @staticmethod
    def around(
        xs: Sequence[float],
        ys: Sequence[float],
        *,
        width: float = 680,
        height: float = 400,
        top: float = 14,
        left: float = 58,
        bottom: float = 50,
        right: float = 16,
        is_log: bool = False,
    ) -> "Frame":
        """Axes on which all of these values have room; ``is_log`` is about ``xs``."""
        return Frame(
            width=width,
            height=height,
            x=Axis.around(xs, start=left, end=width - right, is_log=is_log),
            y=Axis.around(ys, start=height - bottom, end=top, margin=0.1),
        )

    def background(self, x_label: str, y_label: str, *, whole: bool = False) -> list[ET.Element]:
        """Grid, ticks and what the axes say.

        Args:
            whole: whether only whole numbers stand along the x axis.
        """
        x_ticks = [tick for tick in self.x.ticks(8) if not whole or tick == int(tick)]
        made = [self._y_tick(tick) for tick in self.y.ticks(6)]
        made += [self._x_tick(tick) for tick in x_ticks]
        middle_x = (self.x.start + self.x.end) / 2
        middle_y = (self.y.start + self.y.end) / 2
        made.append(
            element("text", text=x_label, x=middle_x, y=self.height - 8, text_anchor="middle")
        )
        turn = f"rotate(-90 14 {middle_y:g})"
        made.append(
            element("text", text=y_label, x=14, y=middle_y, text_anchor="middle", transform=turn)
        )
        return [element("g", *made, class_="axes")]

    def _x_tick(self, tick: float) -> ET.Element:
        place = self.x(tick)
        line = element("path", d=path_of([(place, self.y.end), (place, self.y.start)]))
        label = element(
            "text", text=number(tick), x=place, y=self.y.start + 18, text_anchor="middle"
        )
        return element("g", line, label)

    def _y_tick(self, tick: float) -> ET.Element:
        place = self.y(tick)
        line = element("path", d=path_of([(self.x.start, place), (self.x.end, place)]))
        label = element(
            "text", text=number(tick), x=self.x.start - 8, y=place + 4, text_anchor="end"
        )
        return element("g", line, label)

    def vertical(self, value: float, class_: str) -> ET.Element:
        """A line over the whole height."""
        place = self.x(value)
        return element(
            "path", d=path_of([(place, self.y.end), (place, self.y.start)]), class_=class_
        )

    def horizontal(self, value: float, class_: str) -> ET.Element:
        """A line over the whole width."""
        place = self.y(value)
        return element(
            "path", d=path_of([(self.x.start, place), (self.x.end, place)]), class_=class_
        )


class Shape(StrEnum):
    """Of a mark: what marks mean is told by more than their colour."""

    CIRCLE = "circle"
    SQUARE = "square"
    DIAMOND = "diamond"
    ARROW = "arrow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How a kind of point looks; ``class_`` is that of its colour."""

    class_: str
    shape: Shape = Shape.CIRCLE
    radius: float = 5.0

    def at(
        self, x: float, y: float, *, row: int | None = None, title: str | None = None
    ) -> ET.Element:
        """The point.

        Args:
            row: of the explorer's rows, the one that it stands for.
            title: what a browser without scripts shows of it.
        """
        children = [] if title is None else [element("title", text=title)]
        shared: dict[str, Any] = {"class_": f"mark {self.class_}", "data_row": row}
        if self.shape is Shape.CIRCLE:
            return element("circle", *children, cx=x, cy=y, r=self.radius, **shared)
        points = [(x + self.radius * dx, y + self.radius * dy) for dx, dy in _CORNERS[self.shape]]
        return element("path", *children, d=path_of(points) + "Z", **shared)


_CORNERS = {
    Shape.SQUARE: ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    Shape.DIAMOND: ((0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)),
    Shape.ARROW: ((-0.9, -0.7), (0.9, -0.7), (0, 0.9)),
}
"""Around its middle, in radii; they look equally large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of a legend."""

    text: str
    sample: str

    @staticmethod
    def of_mark(mark: Mark, text: str) -> "Key":
        sample = Mark(class_=mark.class_, shape=mark.shape, radius=min(mark.radius, 6.0))
        return Key(text=text, sample=_sample([sample.at(10.0, 8.0)]))

    @staticmethod
    def of_line(class_: str, text: str) -> "Key":
        line = element("path", d=path_of([(0.0, 8.0), (20.0, 8.0)]), class_=class_)
        return Key(text=text, sample=_sample([line]))

    @staticmethod
    def of_area(class_: str, text: str) -> "Key":
        area = element("rect", x=0, y=2, width=20, height=12, class_=class_)
        return Key(text=text, sample=_sample([area]))


def _sample(children: Sequence[ET.Element]) -> str:
    return drawing(20, 16, children, label=None, class_="sample")
