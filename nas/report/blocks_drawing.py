"""A network drawn block by block: its outline, and bars of milliseconds, a row of a table each."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from nas.report.network import BlockRow
from nas.report.svg import drawing, element, path_of

_WIDTH, _HEIGHT, _REACH, _MIDDLE = 112.0, 34.0, 46.0, 52.0
_BAR_WIDTH, _BAR_HEIGHT = 100.0, 8.0
_KERNELS = (1, 3, 5, 7)

KINDS = {
    "conv_norm_act": "convolution",
    "depthwise_separable": "separable convolution",
    "inverted_residual": "inverted residual",
    "shuffle_v1_unit": "ShuffleNet unit",
    "shuffle_v2_unit": "ShuffleNetV2 unit",
    "pool": "pooling",
    "classifier_head": "classifier",
}


def kind_of(row: BlockRow) -> str:
    """What a block is called on the page."""
    return KINDS[row.type]


def kernel_class(row: BlockRow) -> str:
    """The colour of its kernel: that of the largest of 1, 3, 5 and 7 which is no larger."""
    kernel = row.layer.kernel or 1
    return f"k{max(each for each in _KERNELS if each <= kernel)}"


def widest(rows: Sequence[BlockRow]) -> int:
    """The most channels anywhere in a network, classes and hidden layers aside."""
    convolutional = [row for row in rows if row.type != "classifier_head"]
    return max(max(row.widths) for row in convolutional or rows)


def draw_outline(row: BlockRow, most: int, after: BlockRow | None = None) -> str:
    """How wide a block is where it reads, inside, and where it writes.

    Areas are to scale: widths go with the square root of channels.

    Args:
        most: the channels that take the whole width, in all rows of a table alike.
        after: what became of the block: it is drawn in front of it, and the block itself pale.
    """
    children: list[ET.Element] = []
    if after is None:
        children.append(_outline(row, most, kernel_class(row)))
    else:
        children += [_outline(row, most, "was"), _outline(after, most, kernel_class(after))]
    shown = row if after is None else after
    if shown.layer.squeeze_excite is not None:
        children.append(element("circle", cx=_MIDDLE, cy=_HEIGHT / 2, r=4.0, class_="gate"))
    if shown.skip is not None:
        children.append(element("path", d=_SKIP, class_="skip"))
    return drawing(_WIDTH, _HEIGHT, children, label=None, class_="outline", stretches=True)


def draw_gone(row: BlockRow, most: int) -> str:
    """The outline of a block that was left out."""
    return drawing(
        _WIDTH, _HEIGHT, [_outline(row, most, "was")], label=None, class_="outline", stretches=True
    )


_SKIP = "M104 1C111 8 111 26 104 33"


def _outline(row: BlockRow, most: int, class_: str) -> ET.Element:
    low, inside, high = (
        _REACH * min(1.0, channels / most) ** 0.5 for channels in row.widths
    )  # fmt: skip
    middle, half = _MIDDLE, _HEIGHT / 2
    right = [(low, 0.0), (inside, 0.3 * _HEIGHT), (inside, 0.7 * _HEIGHT), (high, _HEIGHT)]
    if row.layer.inside is None:
        right = [(low, 0.0), ((low + high) / 2, half), (high, _HEIGHT)]
    points = [(middle + x, y) for x, y in right] + [(middle - x, y) for x, y in reversed(right)]
    return element("path", d=path_of(points) + "Z", class_=class_)


def draw_bar(value: float, most: float, *, class_: str = "is", before: float | None = None) -> str:
    """A bar whose whole length is ``most``; in front of a pale one, where ``before`` is given."""
    children = []
    if before is not None:
        children.append(_bar(before, most, "was"))
    children.append(_bar(value, most, class_))
    return drawing(_BAR_WIDTH, _BAR_HEIGHT, children, label=None, class_="strip", stretches=True)


def _bar(value: float, most: float, class_: str) -> ET.Element:
    length = _BAR_WIDTH * min(1.0, max(0.0, value / most)) if most > 0 else 0.0
    return element("rect", x=0, y=0, width=length, height=_BAR_HEIGHT, rx=1, class_=class_)
