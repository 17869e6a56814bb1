"""Primitive operations: what a block lowers to.

Every operation has one output, named like the operation. A name is the path of the torch module
that computes it (``blocks.3.expand.conv``), so trained weights find their operation by name.
"""

from dataclasses import dataclass
from typing import TypeAlias

from search_spaces.blocks import Activation, PoolKind
from search_spaces.shapes import TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class _Op:
    name: str
    inputs: tuple[str, ...]
    output_shape: TensorShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(_Op):
    """A convolution with "same" padding; ``norm`` names its batch norm, else it has a bias."""

    in_channels: int
    kernel: int
    stride: int
    groups: int
    norm: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(_Op):
    """A fully connected layer with a bias, on a 1×1 map."""

    in_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Activate(_Op):
    activation: Activation


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolWindow(_Op):
    """Pooling with "same" padding; an average counts the padding, as torch does by default."""

    kind: PoolKind
    kernel: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalPool(_Op):
    """The mean over height and width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(_Op):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiply(_Op):
    """The first input times the second, which is a 1×1 map (squeeze-and-excite's gate)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concat(_Op):
    """Concatenation of channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSlice(_Op):
    """Channels ``start`` to ``start + output channels``."""

    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelShuffle(_Op):
    """ShuffleNet's channel shuffle (section 3.1): (g, n) channels become (n, g)."""

    groups: int


Op: TypeAlias = (
    Conv
    | Linear
    | Activate
    | PoolWindow
    | GlobalPool
    | Add
    | Multiply
    | Concat
    | ChannelSlice
    | ChannelShuffle
)
