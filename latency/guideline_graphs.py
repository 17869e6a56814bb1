"""ShuffleNetV2's four guideline experiments: what the paper measured, and graphs to repeat it.

Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (2018),
section 2, tables 1 to 4. Every network is ten equal blocks on 56×56 maps, and the rows of a table
have the same MAdds. ``docs/guidelines.md`` says how widths are chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias, assert_never

from latency.context import After, boundary
from search_spaces.blocks import Activation
from search_spaces.costs import count_block_costs
from search_spaces.lowering import LoweredBlock
from search_spaces.ops import Activate, Add, Conv, GlobalPool, Op
from search_spaces.shapes import TensorShape

SCALES = (1, 2, 4)
"""What the widths of the tables' three columns are multiplied by."""

PLATFORMS = ("cpu", "gpu")
"""What the paper measured on."""

MAP_SIZE = 56
REPEATS = 10
BOTTLENECK_REDUCTION = 4
"""ResNet's: a bottleneck of c channels has its 3×3 convolution on c / 4 of them."""

_CHAIN = "chain"


@dataclass(frozen=True, slots=True, kw_only=True)
class PointwisePairs:
    """Two 1×1 convolutions in series, ``first`` → ``second`` → ``first`` channels."""

    first: int
    second: int
    groups: int = 1
    pairs: int = REPEATS

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.first,) if self.first == self.second else (self.first, self.second)

    def scaled(self, factor: int) -> "PointwisePairs":
        return replace(self, first=factor * self.first, second=factor * self.second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragments:
    """``count`` 1×1 convolutions, in series or in parallel with their outputs added."""

    channels: int
    count: int
    parallel: bool = False

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.channels,)

    def scaled(self, factor: int) -> "Fragments":
        return replace(self, channels=factor * self.channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bottlenecks:
    """ResNet's bottleneck, 1×1, 3×3 and 1×1, with or without its ReLUs and its shortcut."""

    channels: int
    relu: bool
    shortcut: bool

    @property
    def widths(self) -> tuple[int, ...]:
        return self.channels, self.channels // BOTTLENECK_REDUCTION

    def scaled(self, factor: int) -> "Bottlenecks":
        return replace(self, channels=factor * self.channels)


Unit: TypeAlias = PointwisePairs | Fragments | Bottlenecks
Figures: TypeAlias = tuple[float, float, float]
"""A speed for each of ``SCALES``, in runs a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table; ``cpu`` and ``gpu`` are the paper's figures, None where it has no such row.

    ``unit`` has the widths of the CPU's ×1; the paper's GPU was given up to four times as many.
    """

    label: str
    unit: Unit
    cpu: Figures | None = None
    gpu: Figures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guideline:
    """A guideline and the table that the paper derives it from.

    Attributes:
        paths: labels of rows in the order in which it says that speed falls. The first is what it
            advises, the last what it advises against most.
        note: what a reader of the table must know.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    paths: tuple[tuple[str, ...], ...]
    note: str = ""

    def key(self, row: Row, scale: int) -> str:
        """The name of a measured graph: ``guideline G1 1:2 x2``."""
        return f"guideline {self.name} {row.label} x{scale}"

    def paper(self, platform: str) -> Mapping[str, Figures]:
        """The paper's speeds on one of ``PLATFORMS``, by row."""
        figures = {row.label: row.cpu if platform == "cpu" else row.gpu for row in self.rows}
        return {label: speeds for label, speeds in figures.items() if speeds is not None}


GUIDELINES = (
    Guideline(
        name="G1",
        title="equal channel widths are fastest",
        rows=(
            Row(label="1:1", unit=PointwisePairs(first=32, second=32),
                cpu=(76.2, 21.7, 5.3), gpu=(1480, 723, 232)),
            Row(label="1:2", unit=PointwisePairs(first=23, second=45),
                cpu=(72.9, 20.5, 5.1), gpu=(1296, 586, 206)),
            Row(label="1:6", unit=PointwisePairs(first=13, second=79),
                cpu=(69.1, 17.9, 4.6), gpu=(876, 489, 189)),
            Row(label="1:12", unit=PointwisePairs(first=9, second=114),
                cpu=(57.6, 15.1, 4.4), gpu=(748, 392, 163)),
            Row(label="1:4 control", unit=PointwisePairs(first=16, second=64)),
        ),
        paths=(("1:1", "1:2", "1:6", "1:12"),),
        note="The control is not in the paper: its widths are multiples of 16. Where it is faster "
        "than 1:2, odd widths cost more than unequal ones.",
    ),
    Guideline(
        name="G2",
        title="group convolutions are slower than dense ones",
        rows=(
            Row(label="g=1", unit=PointwisePairs(first=64, second=64, pairs=5),
                cpu=(40.0, 10.2, 2.3), gpu=(2451, 1289, 437)),
            Row(label="g=2", unit=PointwisePairs(first=90, second=90, groups=2, pairs=5),
                cpu=(35.0, 9.5, 2.2), gpu=(1725, 873, 341)),
            Row(label="g=4", unit=PointwisePairs(first=128, second=128, groups=4, pairs=5),
                cpu=(32.9, 8.7, 2.1), gpu=(1026, 644, 338)),
            Row(label="g=8", unit=PointwisePairs(first=184, second=176, groups=8, pairs=5),
                cpu=(27.8, 7.5, 1.8), gpu=(634, 445, 230)),
        ),
        paths=(("g=1", "g=2", "g=4", "g=8"),),
    ),
    Guideline(
        name="G3",
        title="fragmented blocks are slower than whole ones",
        rows=(
            Row(label="1-fragment", unit=Fragments(channels=64, count=1),
                cpu=(40.2, 10.1, 2.3), gpu=(2446, 1274, 434)),
            Row(label="2-fragment-series", unit=Fragments(channels=45, count=2),
                cpu=(38.6, 10.1, 2.2), gpu=(1790, 909, 336)),
            Row(label="4-fragment-series", unit=Fragments(channels=32, count=4),
                cpu=(38.4, 10.1, 2.3), gpu=(752, 745, 349)),
            Row(label="2-fragment-parallel", unit=Fragments(channels=45, count=2, parallel=True),
                cpu=(33.4, 9.1, 2.2), gpu=(1537, 803, 320)),
            Row(label="4-fragment-parallel", unit=Fragments(channels=32, count=4, parallel=True),
                cpu=(35.0, 8.4, 2.1), gpu=(691, 572, 292)),
        ),
        paths=(
            ("1-fragment", "2-fragment-series", "4-fragment-series"),
            ("1-fragment", "2-fragment-parallel", "4-fragment-parallel"),
        ),
    ),
    Guideline(
        name="G4",
        title="element-wise operations are not free",
        rows=(
            Row(label="ReLU + shortcut", unit=Bottlenecks(channels=32, relu=True, shortcut=True),
                cpu=(56.7, 16.9, 5.0), gpu=(2427, 2066, 1436)),
            Row(label="ReLU only", unit=Bottlenecks(channels=32, relu=True, shortcut=False),
                cpu=(61.9, 18.8, 5.2), gpu=(2647, 2256, 1735)),
            Row(label="shortcut only", unit=Bottlenecks(channels=32, relu=False, shortcut=True),
                cpu=(57.3, 18.2, 5.1), gpu=(2672, 2121, 1458)),
            Row(label="neither", unit=Bottlenecks(channels=32, relu=False, shortcut=False),
                cpu=(66.3, 20.2, 5.4), gpu=(2842, 2376, 1782)),
        ),
        paths=(
            ("neither", "ReLU only", "ReLU + shortcut"),
            ("neither", "shortcut only", "ReLU + shortcut"),
        ),
    ),
)  # fmt: skip


def unit_shape(unit: Unit) -> TensorShape:
    """The map that a unit's blocks read and write."""
    return TensorShape(unit.widths[0], MAP_SIZE, MAP_SIZE)


def unit_between_stubs(unit: Unit) -> list[LoweredBlock]:
    """A unit's blocks, between the stubs of ``latency.context`` for their map."""
    shape = unit_shape(unit)
    stub, end = boundary(shape, After.CONV)
    chain = _lower_unit(unit, stub.output_name)
    pooled = end.ops[-1].output_shape
    pool = GlobalPool(name=end.output_name, inputs=(chain.output_name,), output_shape=pooled)
    return [stub, chain, LoweredBlock(end.name, chain.output_name, shape, (pool,))]


def unit_madds(unit: Unit) -> int:
    """MAdds of a unit's blocks, at batch 1."""
    return count_block_costs(_lower_unit(unit, "input")).madds


def _lower_unit(unit: Unit, source: str) -> LoweredBlock:
    chain = _Chain({source: unit_shape(unit)})
    value = source
    for _ in range(unit.pairs if isinstance(unit, PointwisePairs) else REPEATS):
        match unit:
            case PointwisePairs():
                value = chain.conv(value, unit.second, groups=unit.groups)
                value = chain.conv(value, unit.first, groups=unit.groups)
            case Fragments():
                value = _lower_fragments(chain, unit, value)
            case Bottlenecks():
                value = _lower_bottleneck(chain, unit, value)
            case _:
                assert_never(unit)
    return LoweredBlock(_CHAIN, source, unit_shape(unit), tuple(chain.ops))


def _lower_fragments(chain: "_Chain", unit: Fragments, source: str) -> str:
    value = chain.conv(source, unit.channels)
    for _ in range(unit.count - 1):
        if unit.parallel:
            value = chain.add(value, chain.conv(source, unit.channels))
        else:
            value = chain.conv(value, unit.channels)
    return value


def _lower_bottleneck(chain: "_Chain", unit: Bottlenecks, source: str) -> str:
    channels, reduced = unit.widths
    value = chain.conv(source, reduced, relu=unit.relu)
    value = chain.conv(value, reduced, kernel=3, relu=unit.relu)
    value = chain.conv(value, channels)
    if unit.shortcut:
        value = chain.add(value, source)
    return chain.relu(value) if unit.relu else value


@dataclass(slots=True)
class _Chain:
    """Collects operations under numbers and remembers the shape of every value."""

    shapes: dict[str, TensorShape]
    ops: list[Op] = field(default_factory=list)

    def conv(
        self,
        source: str,
        out_channels: int,
        *,
        kernel: int = 1,
        groups: int = 1,
        relu: bool = False,
    ) -> str:
        shape = self.shapes[source]
        value = self._put(
            Conv(
                name=self._next_name(),
                inputs=(source,),
                output_shape=shape.with_channels(out_channels),
                in_channels=shape.channels,
                kernel=kernel,
                stride=1,
                groups=groups,
                norm=None,
            )
        )
        return self.relu(value) if relu else value

    def relu(self, source: str) -> str:
        shape, relu = self.shapes[source], Activation.RELU
        return self._put(
            Activate(name=self._next_name(), inputs=(source,), output_shape=shape, activation=relu)
        )

    def add(self, left: str, right: str) -> str:
        shape = self.shapes[left]
        return self._put(Add(name=self._next_name(), inputs=(left, right), output_shape=shape))

    def _next_name(self) -> str:
        return f"{_CHAIN}.{len(self.ops)}"

    def _put(self, op: Op) -> str:
        self.ops.append(op)
        self.shapes[op.name] = op.output_shape
        return op.name
