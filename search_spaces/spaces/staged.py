"""A search space made of stages: each stage's choices and input width decide its layers.

That is MnasNet's factorised hierarchical space (section 4.1; the paper's "block" is a stage here).
It keeps a space small in *blocks* even where it is huge in networks: a latency table needs
thousands of entries, not 10¹³.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from search_spaces.architecture import MAX_RESOLUTION, Architecture
from search_spaces.blocks import Block, ClassifierHead, check_integer
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.spaces.stage import Choice, Choices, Stage, check_values

RESOLUTION = "resolution"
"""The first choice of a space of several image sizes."""

Indices: TypeAlias = NDArray[np.uint8]
"""Networks as rows: of each choice, in the order of ``choices``, the index of its value.

Column by column in memory (Fortran order) they are read twice as fast.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Networks that share a stem and a head and differ in their stages, and maybe in image size.

    Attributes:
        resolution: height and width of the base network's image, in pixels.
        resolutions: all that may be chosen, ``resolution`` among them; by default it is alone, and
            no choice.
    """

    name: str
    stem: tuple[Block, ...]
    stages: tuple[Stage, ...]
    head: tuple[Block, ...]
    resolution: int = 224
    resolutions: tuple[int, ...] = ()
    image_channels: int = 3
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        if not self.head or not isinstance(self.head[-1], ClassifierHead):
            raise ValueError(f"the space {self.name!r} must end in a ClassifierHead")
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"the stages of {self.name!r} must have names of their own: {names}")
        object.__setattr__(self, "resolutions", tuple(self.resolutions) or (self.resolution,))
        _check_resolutions(self.resolutions)
        if self.resolution not in self.resolutions:
            raise ValueError(
                f"the base network is no member of {self.name}: its resolution is "
                f"{self.resolution}, but allowed are {self.resolutions!r}"
            )
        self.build(self.base_choices)

    @property
    def choices(self) -> dict[str, tuple[Choice, ...]]:
        """Every choice's allowed values, in order: ``{"stage1.kernel": (3, 5, 7), …}``.

        Before them stands ``"resolution"``, where there are several.
        """
        images: dict[str, tuple[Choice, ...]] = {}
        if len(self.resolutions) > 1:
            images[RESOLUTION] = self.resolutions
        return images | {
            f"{stage.name}.{option}": values
            for stage in self.stages
            for option, values in stage.options.items()
        }

    @property
    def base_choices(self) -> dict[str, Choice]:
        """The choices that give the base network: a search's first trial."""
        images: dict[str, Choice] = {}
        if len(self.resolutions) > 1:
            images[RESOLUTION] = self.resolution
        return images | {
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
        """Of the base network."""
        return TensorShape(self.image_channels, self.resolution, self.resolution)

    @property
    def input_shapes(self) -> tuple[TensorShape, ...]:
        """Of each of ``resolutions``."""
        return tuple(TensorShape(self.image_channels, size, size) for size in self.resolutions)

    def with_resolutions(self, resolution: int | Sequence[int]) -> "SearchSpace":
        """The same space for images of another size, or of any of several.

        The base network's is the largest of them.

        Raises:
            ValueError: ``resolution`` is neither a size nor a sequence of distinct ones.
        """
        several = isinstance(resolution, Sequence) and not isinstance(resolution, str)
        sizes: tuple[Any, ...] = tuple(resolution) if several else (resolution,)  # type: ignore[arg-type]
        _check_resolutions(sizes)
        return replace(self, resolution=max(sizes), resolutions=sizes)

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
            resolution=int(choices.get(RESOLUTION, self.resolution)),
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

        Its number of classes is not compared, nor its resolution where the space has one alone.

        Raises:
            ValueError: the network is no member of the space; the message names the first block
                that no choice makes.
        """
        images = self._image_choices(architecture)
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
        return images | found

    def _image_choices(self, architecture: Architecture) -> dict[str, Choice]:
        """The choices that the stages do not make; ``ValueError`` where there are none."""
        for field in ("image_channels", "norm_epsilon"):
            theirs, ours = getattr(architecture, field), getattr(self, field)
            if theirs != ours:
                raise ValueError(
                    f"{architecture.name} is not in {self.name}, where {field} is {ours}, but "
                    f"{theirs} in the network"
                )
        if len(self.resolutions) == 1:
            return {}
        if architecture.resolution not in self.resolutions:
            raise ValueError(
                f"{architecture.name} is not in {self.name}, where resolution is one of "
                f"{self.resolutions!r}, but {architecture.resolution} in the network"
            )
        return {RESOLUTION: architecture.resolution}

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


def _check_resolutions(sizes: tuple[int, ...]) -> None:
    for size in sizes:
        check_integer("SearchSpace", "resolution", size, 1, MAX_RESOLUTION)
    check_values("SearchSpace.resolutions", sizes)


def _beyond(space: str, name: str, values: tuple[Choice, ...], index: int) -> str:
    return (
        f"{space}: the index of {name} must be in 0..{len(values) - 1}, one of {values!r}, "
        f"but got {index}"
    )


def _common(some: tuple[Block, ...], others: tuple[Block, ...]) -> int:
    """How many blocks both begin with."""
    pairs = enumerate(zip(some, others, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(some), len(others)))
