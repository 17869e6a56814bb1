"""A stage: layers that share their choices."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TypeAlias

from search_spaces.blocks import Block

Choice: TypeAlias = bool | int | float | str
Choices: TypeAlias = Mapping[str, Choice]

MAX_VALUES = 256
"""Of one choice, so that an index fits a byte."""


def check_values(name: str, values: tuple[Choice, ...]) -> None:
    """Raise ``ValueError`` unless a choice can have these values."""
    if not values or len(set(values)) != len(values):
        raise ValueError(f"{name} must have distinct values, at least one, but got {values!r}")
    if len(values) > MAX_VALUES:
        raise ValueError(f"{name} must have {MAX_VALUES} values at most, but got {len(values)}")


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
            check_values(f"{self.name}.{option}", values)
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
