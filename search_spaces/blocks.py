"""The vocabulary of blocks: frozen values, validated where they are made.

Channel counts are absolute, never ratios, and the input channels of a block are derived from the
block before it. A skip connection is said, not inferred: one that is inferred from equal widths
vanishes silently when a single layer is narrowed.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

MAX_CHANNELS = 65_536
MAX_KERNEL = 31


class Activation(StrEnum):
    """A point-wise function. ``h_swish`` and ``hard_sigmoid`` as in MobileNetV3, section 5.2."""

    IDENTITY = "identity"
    RELU = "relu"
    RELU6 = "relu6"
    SWISH = "swish"
    H_SWISH = "h_swish"
    SIGMOID = "sigmoid"
    HARD_SIGMOID = "hard_sigmoid"


GATES = (Activation.SIGMOID, Activation.HARD_SIGMOID)


class Skip(StrEnum):
    """What is added to a block's output: nothing, its input, or its input average-pooled 3×3.

    ``pool`` is MnasNet's pooling skip op (section 4.1), at the block's own stride.
    """

    NONE = "none"
    IDENTITY = "identity"
    POOL = "pool"


class PoolKind(StrEnum):
    MAX = "max"
    AVERAGE = "average"


def check_integer(owner: str, field: str, value: object, low: int, high: int) -> None:
    """Raise ``ValueError`` unless ``value`` is an integer (a bool is not) in ``low..high``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{owner}.{field} must be an integer, but got {value!r}")
    if not low <= value <= high:
        raise ValueError(f"{owner}.{field} must be in {low}..{high}, but got {value}")


def check_fraction(owner: str, field: str, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is a number with 0 ≤ value < 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value < 1.0:
        raise ValueError(f"{owner}.{field} must be a number in 0 ≤ value < 1, but got {value!r}")


def _check_channels(owner: object, **channels: int) -> None:
    for field, value in channels.items():
        check_integer(type(owner).__name__, field, value, 1, MAX_CHANNELS)


def _check_window(owner: object, kernel: int, stride: int) -> None:
    name = type(owner).__name__
    check_integer(name, "kernel", kernel, 1, MAX_KERNEL)
    if kernel % 2 == 0:
        raise ValueError(f"{name}.kernel must be odd, but got {kernel}")
    check_integer(name, "stride", stride, 1, 2)


def _check_member(owner: object, field: str, value: object, allowed: tuple[StrEnum, ...]) -> None:
    if not isinstance(value, StrEnum) or value not in allowed:
        names = ", ".join(allowed)
        raise ValueError(
            f"{type(owner).__name__}.{field} must be one of {names}, but got {value!r}"
        )


def _check_activation(owner: object, field: str, value: object) -> None:
    _check_member(owner, field, value, tuple(a for a in Activation if a not in GATES))


def _check_convolutional(
    block: "ConvNormAct | DepthwiseSeparable | InvertedResidual",
) -> None:
    _check_channels(block, out_channels=block.out_channels)
    _check_window(block, block.kernel, block.stride)
    _check_activation(block, "activation", block.activation)
    if block.squeeze_excite is not None and not isinstance(block.squeeze_excite, SqueezeExcite):
        raise ValueError(
            f"{type(block).__name__}.squeeze_excite must be a SqueezeExcite or None, "
            f"but got {block.squeeze_excite!r}"
        )
    _check_member(block, "skip", block.skip, tuple(Skip))


@dataclass(frozen=True, slots=True, kw_only=True)
class SqueezeExcite:
    """Squeeze-and-excite: global pool, 1×1 to ``channels``, 1×1 back, a gate that multiplies.

    ``channels`` is the width of the bottleneck: a quarter of the block's input in MnasNet, a
    quarter of the expansion rounded to a multiple of 8 in MobileNetV3 (section 5.3).
    """

    channels: int
    activation: Activation = Activation.RELU
    gate: Activation = Activation.SIGMOID

    def __post_init__(self) -> None:
        _check_channels(self, channels=self.channels)
        _check_activation(self, "activation", self.activation)
        _check_member(self, "gate", self.gate, GATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNormAct:
    """Convolution, batch norm, activation; then squeeze-and-excite and skip, where given."""

    out_channels: int
    kernel: int
    stride: int = 1
    activation: Activation = Activation.RELU
    squeeze_excite: SqueezeExcite | None = None
    skip: Skip = Skip.NONE

    def __post_init__(self) -> None:
        _check_convolutional(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseSeparable:
    """Depthwise k×k then pointwise 1×1 (MobileNetV1, section 3.1).

    ``output_activation`` follows the pointwise layer: ReLU in MobileNetV1, none where the block is
    an inverted residual of expansion 1 (MobileNetV2's and MnasNet's first block).
    """

    out_channels: int
    kernel: int
    stride: int = 1
    activation: Activation = Activation.RELU
    output_activation: Activation = Activation.IDENTITY
    squeeze_excite: SqueezeExcite | None = None
    skip: Skip = Skip.NONE

    def __post_init__(self) -> None:
        _check_convolutional(self)
        _check_activation(self, "output_activation", self.output_activation)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvertedResidual:
    """1×1 expansion, depthwise k×k, optional squeeze-and-excite, linear 1×1 projection.

    MobileNetV2, section 3.3; squeeze-and-excite on the expanded channels as in MobileNetV3.
    """

    expanded_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    activation: Activation = Activation.RELU
    squeeze_excite: SqueezeExcite | None = None
    skip: Skip = Skip.NONE

    def __post_init__(self) -> None:
        _check_convolutional(self)
        _check_channels(self, expanded_channels=self.expanded_channels)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleV1Unit:
    """Grouped 1×1, channel shuffle, depthwise, grouped 1×1 (ShuffleNet, Figure 2b and 2c).

    At stride 1 the input is added; at stride 2 the input, average-pooled, is concatenated, so the
    branch makes ``out_channels − in_channels``. ``input_groups`` are the groups of the first
    pointwise layer, which is not grouped in the first unit of stage 2.
    """

    bottleneck_channels: int
    out_channels: int
    groups: int
    input_groups: int
    kernel: int = 3
    stride: int = 1
    activation: Activation = Activation.RELU

    def __post_init__(self) -> None:
        _check_channels(
            self,
            bottleneck_channels=self.bottleneck_channels,
            out_channels=self.out_channels,
            groups=self.groups,
            input_groups=self.input_groups,
        )
        for field, groups in (("groups", self.groups), ("input_groups", self.input_groups)):
            if self.bottleneck_channels % groups:
                raise ValueError(
                    f"ShuffleV1Unit.bottleneck_channels must be a multiple of {field}, but got "
                    f"bottleneck_channels={self.bottleneck_channels}, {field}={groups}"
                )
        _check_window(self, self.kernel, self.stride)
        _check_activation(self, "activation", self.activation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleV2Unit:
    """ShuffleNetV2, Figure 3c (stride 1: channel split) and 3d (stride 2: two branches).

    ``branch_channels`` is the width inside the working branch; the paper has it equal to half of
    ``out_channels`` (guideline G1).
    """

    branch_channels: int
    out_channels: int
    kernel: int = 3
    stride: int = 1
    activation: Activation = Activation.RELU

    def __post_init__(self) -> None:
        _check_channels(self, branch_channels=self.branch_channels, out_channels=self.out_channels)
        if self.out_channels % 2:
            raise ValueError(
                "ShuffleV2Unit.out_channels must be even (it has two branches), but got "
                f"{self.out_channels}"
            )
        _check_window(self, self.kernel, self.stride)
        _check_activation(self, "activation", self.activation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pooling layer with "same" padding."""

    kind: PoolKind
    kernel: int
    stride: int = 1

    def __post_init__(self) -> None:
        _check_member(self, "kind", self.kind, tuple(PoolKind))
        _check_window(self, self.kernel, self.stride)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierHead:
    """Global average pool, an optional hidden layer without normalisation, dropout, classifier.

    With ``hidden_channels`` it is MobileNetV3's efficient last stage (Figure 5): the final features
    are computed at 1×1. The original last stage is written with blocks before a head without it.
    """

    num_classes: int = 1000
    hidden_channels: int | None = None
    hidden_activation: Activation = Activation.IDENTITY
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_channels(self, num_classes=self.num_classes)
        if self.hidden_channels is not None:
            _check_channels(self, hidden_channels=self.hidden_channels)
        elif self.hidden_activation is not Activation.IDENTITY:
            raise ValueError(
                "ClassifierHead.hidden_activation needs hidden_channels, but got "
                f"hidden_activation={self.hidden_activation!r} without them"
            )
        _check_activation(self, "hidden_activation", self.hidden_activation)
        check_fraction("ClassifierHead", "dropout", self.dropout)


Block: TypeAlias = (
    ConvNormAct
    | DepthwiseSeparable
    | InvertedResidual
    | ShuffleV1Unit
    | ShuffleV2Unit
    | Pool
    | ClassifierHead
)
