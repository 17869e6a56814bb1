"""A search space made of stages: each stage's choices and input width decide its layers.

That is MnasNet's factorised hierarchical space (section 4.1; the paper's "block" is a stage here).
It keeps a space small in *blocks* even where it is huge in networks: a latency table needs
thousands of entries, not 10¹³.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import Architecture
from search_spaces.blocks import Block, ClassifierHead
from search_spaces.shapes import TensorShape, output_shape

Choice: TypeAlias = bool | int | float | str
Choices: TypeAlias = Mapping[str, Choice]

Indices: TypeAlias = NDArray[np.uint8]
"""Networks as rows: of each choice, in the order of ``choices``, the index of its value.

Column by column in memory (Fortran order) they are read twice as fast.
"""

MAX_VALUES = 256
"""Of one choice, so that an index fits a byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Layers that share their choices.

    Attributes:
        name: stands before the options' names: ``stage2.kernel``.
        options: each option's allowed values.
        base: the values that give the base network's stage.
        layers: values of the options, input channels → the stage's layers.
    """

    name: str
    options: Mapping[str, tuple[Choice, ...]]
    base: Choices
    layers: Callable[[Choices, int], tuple[Block, ...]]

    def __post_init__(self) -> None:
        for option, values in self.options.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"{self.name}.{option} must have distinct values, at least one, "
                    f"but got {values!r}"
                )
            if len(values) > MAX_VALUES:
                raise ValueError(
                    f"{self.name}.{option} must have {MAX_VALUES} values at most, "
                    f"but got {len(values)}"
                )
            if self.base.get(option) not in values:
                raise ValueError(
                    f"the base network is no member of the space: {self.name}.{option} is "
                    f"{self.base.get(option)!r}, but allowed are {values!r}"
                )

    def variants(self) -> Iterator[Choices]:
        """Every combination of the options, those nearest to the base first."""
        ordered = (
            sorted(values, key=lambda value, base=self.base[option]: value != base)  # type: ignore[misc]
            for option, values in self.options.items()
        )
        for values in product(*ordered):
            yield MappingProxyType(dict(zip(self.options, values, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Networks that share a stem and a head and differ in their stages."""

    name: str
    stem: tuple[Block, ...]
    stages: tuple[Stage, ...]
    head: tuple[Block, ...]
    resolution: int = 224
    image_channels: int = 3
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not self.head or not isinstance(self.head[-1], ClassifierHead):
            raise ValueError(f"the space {self.name!r} must end in a ClassifierHead")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"the stages of {self.name!r} must have names of their own: {names}")
        self.build(self.base_choices)

    @property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """Every choice's allowed values, in order: ``{"stage1.kernel": (3, 5, 7), …}``."""
        return {
            f"{stage.name}.{option}": values
            for stage in self.stages
            for option, values in stage.options.items()
        }

    @property
    def base_choices(self) -> dict[str, Choice]:
        """The choices that give the base network: a search's first trial."""
        return {
            f"{stage.name}.{option}": stage.base[option]
            for stage in self.stages
            for option in stage.options
        }

    @property
    def size(self) -> int:
        """How many combinations of choices there are."""
        return prod(len(values) for values in self.choices.values())

    @property
    def input_shape(self) -> TensorShape:
        return TensorShape(self.image_channels, self.resolution, self.resolution)

    def build(self, choices: Choices, name: str | None = None) -> Architecture:
        """The network that ``choices`` stand for.

        Raises:
            ValueError: a choice is missing, unknown, or has a value that is not allowed.
        """
        self._check_choices(choices)
        blocks = list(self.stem)
        shape = self._shape_after(self.stem, self.input_shape)
        for stage in self.stages:
            values = {option: choices[f"{stage.name}.{option}"] for option in stage.options}
            layers = stage.layers(values, shape.channels)
            blocks += layers
            shape = self._shape_after(layers, shape)
        return Architecture(
            name=name or f"{self.name}_network",
            blocks=(*blocks, *self.head),
            resolution=self.resolution,
            image_channels=self.image_channels,
            norm_epsilon=self.norm_epsilon,
        )

    def choice_indices(self, choices: Choices) -> tuple[int, ...]:
        """The row of integers that stands for ``choices``.

        Raises:
            ValueError: a choice is missing, unknown, or has a value that is not allowed.
        """
        self._check_choices(choices)
        return tuple(values.index(choices[name]) for name, values in self.choices.items())

    def choices_at(self, indices: Sequence[int] | Indices) -> dict[str, Choice]:
        """The choices that a row of integers stands for.

        Raises:
            ValueError: it is no row of integers, one a choice, or an index is out of range.
        """
        allowed, row = self.choices, np.asarray(indices)
        if row.dtype.kind not in "iu" or row.shape != (len(allowed),):
            raise ValueError(
                f"{self.name}: a network must be {len(allowed)} integers, but got an array of "
                f"{row.dtype} of shape {row.shape}"
            )
        for (name, values), index in zip(allowed.items(), row, strict=True):
            if not 0 <= index < len(values):
                raise ValueError(_beyond(self.name, name, values, index))
        return {name: values[i] for (name, values), i in zip(allowed.items(), row, strict=True)}

    def sample_indices(self, count: int, rng: np.random.Generator) -> Indices:
        """``count`` networks drawn evenly from all combinations, in Fortran order.

        Raises:
            ValueError: ``count`` is below 0.
        """
        if count < 0:
            raise ValueError(f"count must be 0 or more, but got {count}")
        allowed = self.choices.values()
        indices = np.empty((count, len(allowed)), dtype=np.uint8, order="F")
        for column, values in enumerate(allowed):
            indices[:, column] = rng.integers(len(values), size=count, dtype=np.uint8)
        return indices

    def check_indices(self, indices: Indices) -> None:
        """Refuse what is no array of networks.

        Raises:
            ValueError: it is of another type or shape, or an index is out of range.
        """
        allowed = self.choices
        if indices.dtype != np.uint8 or indices.ndim != 2 or indices.shape[1] != len(allowed):
            raise ValueError(
                f"{self.name}: networks must be an array of uint8 of shape (networks, "
                f"{len(allowed)}), but got {indices.dtype} of shape {indices.shape}"
            )
        highest = indices.max(axis=0, initial=0)
        for (name, values), index in zip(allowed.items(), highest, strict=True):
            if index >= len(values):
                raise ValueError(_beyond(self.name, name, values, index))

    def encode(self, architecture: Architecture) -> dict[str, Choice]:
        """Choices that build ``architecture``; those nearest to the base where several do.

        Its resolution and number of classes are not compared.

        Raises:
            ValueError: the network is no member of the space; the message names the first block
                that no choice makes.
        """
        for field in ("image_channels", "norm_epsilon"):
            theirs, ours = getattr(architecture, field), getattr(self, field)
            if theirs != ours:
                raise ValueError(
                    f"{architecture.name} is not in {self.name}, where {field} is {ours}, but "
                    f"{theirs} in the network"
                )
        blocks = architecture.with_num_classes(self._classes).blocks
        if blocks[: len(self.stem)] != self.stem:
            raise ValueError(f"{architecture.name} is not in {self.name}: it has another stem")
        position = len(self.stem)
        shape = self._shape_after(self.stem, self.input_shape)
        found, furthest = self._match(blocks, position, shape, 0)
        if found is None:
            raise ValueError(
                f"{architecture.name} is not in {self.name}: no choice makes blocks[{furthest}], "
                f"{blocks[min(furthest, len(blocks) - 1)]}"
            )
        return found

    @property
    def _classes(self) -> int:
        head = self.head[-1]
        assert isinstance(head, ClassifierHead)
        return head.num_classes

    def _check_choices(self, choices: Choices) -> None:
        allowed = self.choices
        if unknown := sorted(choices.keys() - allowed.keys()):
            raise ValueError(f"{self.name} has no choice {unknown[0]!r}; it has {list(allowed)}")
        for name, values in allowed.items():
            if name not in choices:
                raise ValueError(f"{self.name} needs the choice {name!r}, one of {values!r}")
            if choices[name] not in values:
                raise ValueError(
                    f"{self.name}: {name} must be one of {values!r}, but got {choices[name]!r}"
                )

    @staticmethod
    def _shape_after(blocks: tuple[Block, ...], shape: TensorShape) -> TensorShape:
        for block in blocks:
            shape = output_shape(block, shape)
        return shape

    def _match(
        self, blocks: tuple[Block, ...], position: int, shape: TensorShape, index: int
    ) -> tuple[dict[str, Choice] | None, int]:
        """Choices for stages ``index…`` that make ``blocks[position:]``, and how far any got."""
        if index == len(self.stages):
            if blocks[position:] == self.head:
                return {}, len(blocks)
            return None, position + _common(blocks[position:], self.head)
        stage, furthest = self.stages[index], position
        tried: set[int] = set()
        for values in stage.variants():
            layers = stage.layers(values, shape.channels)
            following = position + len(layers)
            if blocks[position:following] != layers:
                furthest = max(furthest, position + _common(blocks[position:], layers))
                continue
            # Other values may make the same layers, and what follows them is the same too.
            if following in tried:
                continue
            tried.add(following)
            rest, reached = self._match(
                blocks, following, self._shape_after(layers, shape), index + 1
            )
            furthest = max(furthest, reached)
            if rest is not None:
                return {
                    f"{stage.name}.{option}": values[option] for option in values
                } | rest, reached
        return None, furthest


def _beyond(space: str, name: str, values: tuple[Choice, ...], index: int) -> str:
    return (
        f"{space}: the index of {name} must be in 0..{len(values) - 1}, one of {values!r}, "
        f"but got {index}"
    )


def _common(some: tuple[Block, ...], others: tuple[Block, ...]) -> int:
    """How many blocks both begin with."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(some), len(others)))
