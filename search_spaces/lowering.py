"""Block → primitive operations. The costs, the ONNX graph and the latency plan all read these."""

from dataclasses import dataclass, field
from typing import assert_never

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Activation,
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    PoolKind,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.ops import (
    Activate,
    Add,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Conv,
    GlobalPool,
    Linear,
    Multiply,
    Op,
    PoolWindow,
)
from search_spaces.shapes import TensorShape, output_shape, shuffle_v1_branch_channels

INPUT = "input"


@dataclass(frozen=True, slots=True)
class LoweredBlock:
    """A block's operations in order; the last one makes its output."""

    name: str
    input_name: str
    input_shape: TensorShape
    ops: tuple[Op, ...]

    @property
    def output_name(self) -> str:
        return self.ops[-1].name


def lower(architecture: Architecture) -> tuple[LoweredBlock, ...]:
    """Every block of a network, each reading the output of the one before it."""
    lowered: list[LoweredBlock] = []
    input_name = INPUT
    for index, (block, shape) in enumerate(architecture.walk()):
        lowered.append(lower_block(block, shape, name=f"blocks.{index}", input_name=input_name))
        input_name = lowered[-1].output_name
    return tuple(lowered)


def lower_block(
    block: Block, input_shape: TensorShape, *, name: str = "block", input_name: str = INPUT
) -> LoweredBlock:
    """The operations of one block on ``input_shape``, with ``name`` before their names.

    Raises:
        ValueError: the block cannot follow this input.
    """
    output_shape(block, input_shape)
    build = _Builder(prefix=name, shapes={input_name: input_shape})
    match block:
        case ConvNormAct():
            _lower_conv_norm_act(build, block, input_name)
        case DepthwiseSeparable():
            _lower_depthwise_separable(build, block, input_name)
        case InvertedResidual():
            _lower_inverted_residual(build, block, input_name)
        case ShuffleV1Unit():
            _lower_shuffle_v1_unit(build, block, input_name)
        case ShuffleV2Unit():
            _lower_shuffle_v2_unit(build, block, input_name)
        case Pool():
            build.pool("pool", input_name, block.kind, block.kernel, block.stride)
        case ClassifierHead():
            _lower_classifier_head(build, block, input_name)
        case _:
            assert_never(block)
    return LoweredBlock(name, input_name, input_shape, tuple(build.ops))


@dataclass(slots=True)
class _Builder:
    """Collects operations and remembers the shape of every value."""

    prefix: str
    shapes: dict[str, TensorShape]
    ops: list[Op] = field(default_factory=list)

    def _put(self, op: Op) -> str:
        self.ops.append(op)
        self.shapes[op.name] = op.output_shape
        return op.name

    def _name(self, path: str) -> str:
        return f"{self.prefix}.{path}"

    def conv(
        self, path: str, source: str, out_channels: int, kernel: int = 1, *,
        stride: int = 1, groups: int = 1, norm: str | None = None,
    ) -> str:  # fmt: skip
        shape = self.shapes[source]
        return self._put(
            Conv(
                name=self._name(path),
                inputs=(source,),
                output_shape=shape.strided(stride).with_channels(out_channels),
                in_channels=shape.channels,
                kernel=kernel,
                stride=stride,
                groups=groups,
                norm=None if norm is None else self._name(norm),
            )
        )

    def conv_norm_act(
        self, path: str, source: str, out_channels: int, activation: Activation, *,
        kernel: int = 1, stride: int = 1, groups: int = 1,
    ) -> str:  # fmt: skip
        value = self.conv(
            f"{path}.conv", source, out_channels, kernel,
            stride=stride, groups=groups, norm=f"{path}.norm",
        )  # fmt: skip
        return self.activate(f"{path}.activation", value, activation)

    def depthwise(
        self, source: str, kernel: int, stride: int, activation: Activation,
        path: str = "depthwise",
    ) -> str:  # fmt: skip
        channels = self.shapes[source].channels
        return self.conv_norm_act(
            path, source, channels, activation, kernel=kernel, stride=stride, groups=channels
        )

    def activate(self, path: str, source: str, activation: Activation) -> str:
        if activation is Activation.IDENTITY:
            return source
        return self._put(
            Activate(
                name=self._name(path),
                inputs=(source,),
                output_shape=self.shapes[source],
                activation=activation,
            )
        )

    def pool(self, path: str, source: str, kind: PoolKind, kernel: int, stride: int) -> str:
        return self._put(
            PoolWindow(
                name=self._name(path),
                inputs=(source,),
                output_shape=self.shapes[source].strided(stride),
                kind=kind,
                kernel=kernel,
                stride=stride,
            )
        )

    def global_pool(self, path: str, source: str) -> str:
        shape = TensorShape(self.shapes[source].channels, 1, 1)
        return self._put(GlobalPool(name=self._name(path), inputs=(source,), output_shape=shape))

    def linear(self, path: str, source: str, out_channels: int) -> str:
        return self._put(
            Linear(
                name=self._name(path),
                inputs=(source,),
                output_shape=TensorShape(out_channels, 1, 1),
                in_channels=self.shapes[source].channels,
            )
        )

    def add(self, left: str, right: str) -> str:
        return self._put(
            Add(name=self._name("add"), inputs=(left, right), output_shape=self.shapes[left])
        )

    def concat(self, left: str, right: str) -> str:
        channels = self.shapes[left].channels + self.shapes[right].channels
        shape = self.shapes[left].with_channels(channels)
        return self._put(
            Concat(name=self._name("concat"), inputs=(left, right), output_shape=shape)
        )

    def channel_slice(self, path: str, source: str, start: int, channels: int) -> str:
        shape = self.shapes[source].with_channels(channels)
        return self._put(
            ChannelSlice(name=self._name(path), inputs=(source,), output_shape=shape, start=start)
        )

    def channel_shuffle(self, source: str, groups: int) -> str:
        return self._put(
            ChannelShuffle(
                name=self._name("shuffle"),
                inputs=(source,),
                output_shape=self.shapes[source],
                groups=groups,
            )
        )

    def squeeze_excite(self, source: str, squeeze_excite: SqueezeExcite | None) -> str:
        if squeeze_excite is None:
            return source
        path = "squeeze_excite"
        value = self.global_pool(f"{path}.pool", source)
        value = self.conv(f"{path}.reduce", value, squeeze_excite.channels)
        value = self.activate(f"{path}.activation", value, squeeze_excite.activation)
        value = self.conv(f"{path}.expand", value, self.shapes[source].channels)
        value = self.activate(f"{path}.gate", value, squeeze_excite.gate)
        return self._put(
            Multiply(
                name=self._name(f"{path}.multiply"),
                inputs=(source, value),
                output_shape=self.shapes[source],
            )
        )

    def skip(self, source: str, value: str, skip: Skip, stride: int) -> str:
        match skip:
            case Skip.NONE:
                return value
            case Skip.IDENTITY:
                return self.add(value, source)
            case Skip.POOL:
                pooled = self.pool("skip_pool", source, PoolKind.AVERAGE, 3, stride)
                return self.add(value, pooled)
            case _:
                assert_never(skip)


def _lower_conv_norm_act(build: _Builder, block: ConvNormAct, source: str) -> None:
    value = build.conv_norm_act(
        "unit",
        source,
        block.out_channels,
        block.activation,
        kernel=block.kernel,
        stride=block.stride,
    )
    value = build.squeeze_excite(value, block.squeeze_excite)
    build.skip(source, value, block.skip, block.stride)


def _lower_depthwise_separable(build: _Builder, block: DepthwiseSeparable, source: str) -> None:
    value = build.depthwise(source, block.kernel, block.stride, block.activation)
    value = build.squeeze_excite(value, block.squeeze_excite)
    value = build.conv_norm_act("pointwise", value, block.out_channels, block.output_activation)
    build.skip(source, value, block.skip, block.stride)


def _lower_inverted_residual(build: _Builder, block: InvertedResidual, source: str) -> None:
    value = build.conv_norm_act("expand", source, block.expanded_channels, block.activation)
    value = build.depthwise(value, block.kernel, block.stride, block.activation)
    value = build.squeeze_excite(value, block.squeeze_excite)
    value = build.conv_norm_act("project", value, block.out_channels, Activation.IDENTITY)
    build.skip(source, value, block.skip, block.stride)


def _lower_shuffle_v1_unit(build: _Builder, block: ShuffleV1Unit, source: str) -> None:
    branch = shuffle_v1_branch_channels(block, build.shapes[source].channels)
    value = build.conv_norm_act(
        "reduce", source, block.bottleneck_channels, block.activation, groups=block.input_groups
    )
    if block.groups > 1:
        value = build.channel_shuffle(value, block.groups)
    value = build.depthwise(value, block.kernel, block.stride, Activation.IDENTITY)
    value = build.conv_norm_act("expand", value, branch, Activation.IDENTITY, groups=block.groups)
    if block.stride == 1:
        value = build.add(value, source)
    else:
        pooled = build.pool("skip_pool", source, PoolKind.AVERAGE, 3, block.stride)
        value = build.concat(pooled, value)
    build.activate("activation", value, block.activation)


def _lower_shuffle_v2_unit(build: _Builder, block: ShuffleV2Unit, source: str) -> None:
    half = block.out_channels // 2
    if block.stride == 1:
        untouched = build.channel_slice("split_left", source, 0, half)
        value = build.channel_slice("split_right", source, half, half)
    else:
        untouched = build.depthwise(
            source, block.kernel, block.stride, Activation.IDENTITY, path="left_depthwise"
        )
        untouched = build.conv_norm_act("left_pointwise", untouched, half, block.activation)
        value = source
    value = build.conv_norm_act("reduce", value, block.branch_channels, block.activation)
    value = build.depthwise(value, block.kernel, block.stride, Activation.IDENTITY)
    value = build.conv_norm_act("expand", value, half, block.activation)
    build.channel_shuffle(build.concat(untouched, value), 2)


def _lower_classifier_head(build: _Builder, block: ClassifierHead, source: str) -> None:
    value = build.global_pool("pool", source)
    if block.hidden_channels is not None:
        value = build.linear("hidden", value, block.hidden_channels)
        value = build.activate("activation", value, block.hidden_activation)
    build.linear("classifier", value, block.num_classes)
