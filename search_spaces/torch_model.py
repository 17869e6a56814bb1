"""Blocks → readable torch modules. Module paths equal the operations' names in ``lowering.py``."""

from typing import assert_never

import torch
from torch import Tensor, nn

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
from search_spaces.shapes import shuffle_v1_branch_channels
from search_spaces.torch_layers import Convolution, GlobalAveragePool, channel_shuffle


def build_model(architecture: Architecture, num_classes: int | None = None) -> "Network":
    """The network as a torch module with freshly initialised weights.

    Args:
        architecture: the network.
        num_classes: replaces the architecture's own number of classes.
    """
    if num_classes is not None:
        architecture = architecture.with_num_classes(num_classes)
    return Network(architecture)


class Network(nn.Module):
    """Images ``(N, C, H, W)`` → logits ``(N, num_classes)``; H and W are free."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.blocks = nn.Sequential(
            *(build_block(block, shape.channels) for block, shape in architecture.walk())
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = architecture.norm_epsilon
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.blocks(images)
        return logits


def build_block(block: Block, in_channels: int) -> nn.Module:
    """One block as a module on ``(N, in_channels, H, W)``."""
    match block:
        case ConvNormAct():
            return ConvNormActModule(block, in_channels)
        case DepthwiseSeparable():
            return DepthwiseSeparableModule(block, in_channels)
        case InvertedResidual():
            return InvertedResidualModule(block, in_channels)
        case ShuffleV1Unit():
            return ShuffleV1Module(block, in_channels)
        case ShuffleV2Unit():
            return ShuffleV2Module(block, in_channels)
        case Pool():
            return PoolModule(block)
        case ClassifierHead():
            return ClassifierHeadModule(block, in_channels)
        case _:
            assert_never(block)


def initialise(module: nn.Module) -> None:
    """He initialisation of one layer by fan-out, as torchvision's mobile networks have it."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)


def build_activation(activation: Activation) -> nn.Module:
    match activation:
        case Activation.IDENTITY:
            return nn.Identity()
        case Activation.RELU:
            return nn.ReLU(inplace=True)
        case Activation.RELU6:
            return nn.ReLU6(inplace=True)
        case Activation.SWISH:
            return nn.SiLU(inplace=True)
        case Activation.H_SWISH:
            return nn.Hardswish(inplace=True)
        case Activation.SIGMOID:
            return nn.Sigmoid()
        case Activation.HARD_SIGMOID:
            return nn.Hardsigmoid(inplace=True)
        case _:
            assert_never(activation)


class ConvUnit(nn.Sequential):
    """Convolution without bias, batch norm, activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        activation: Activation,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        self.conv = Convolution(
            in_channels, out_channels, kernel=kernel, stride=stride, groups=groups
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = build_activation(activation)


def depthwise_unit(channels: int, kernel: int, stride: int, activation: Activation) -> ConvUnit:
    return ConvUnit(channels, channels, activation, kernel=kernel, stride=stride, groups=channels)


class SqueezeExciteModule(nn.Module):
    def __init__(self, block: SqueezeExcite, channels: int) -> None:
        super().__init__()
        self.pool = GlobalAveragePool()
        self.reduce = Convolution(channels, block.channels, bias=True)
        self.activation = build_activation(block.activation)
        self.expand = Convolution(block.channels, channels, bias=True)
        self.gate = build_activation(block.gate)

    def forward(self, x: Tensor) -> Tensor:
        scale: Tensor = self.gate(self.expand(self.activation(self.reduce(self.pool(x)))))
        return x * scale


def _build_squeeze_excite(block: SqueezeExcite | None, channels: int) -> nn.Module:
    return nn.Identity() if block is None else SqueezeExciteModule(block, channels)


class SkipModule(nn.Module):
    """Adds the block's input to its output, as ``Skip`` says."""

    def __init__(self, skip: Skip, stride: int) -> None:
        super().__init__()
        self.skip = skip
        self.pool = nn.AvgPool2d(3, stride, 1) if skip is Skip.POOL else nn.Identity()

    def forward(self, block_input: Tensor, block_output: Tensor) -> Tensor:
        if self.skip is Skip.NONE:
            return block_output
        shortcut: Tensor = self.pool(block_input)
        return block_output + shortcut


class ConvNormActModule(nn.Module):
    def __init__(self, block: ConvNormAct, in_channels: int) -> None:
        super().__init__()
        self.unit = ConvUnit(
            in_channels,
            block.out_channels,
            block.activation,
            kernel=block.kernel,
            stride=block.stride,
        )
        self.squeeze_excite = _build_squeeze_excite(block.squeeze_excite, block.out_channels)
        self.skip = SkipModule(block.skip, block.stride)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x, self.squeeze_excite(self.unit(x)))  # type: ignore[no-any-return]


class DepthwiseSeparableModule(nn.Module):
    def __init__(self, block: DepthwiseSeparable, in_channels: int) -> None:
        super().__init__()
        self.depthwise = depthwise_unit(in_channels, block.kernel, block.stride, block.activation)
        self.squeeze_excite = _build_squeeze_excite(block.squeeze_excite, in_channels)
        self.pointwise = ConvUnit(in_channels, block.out_channels, block.output_activation)
        self.skip = SkipModule(block.skip, block.stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.pointwise(self.squeeze_excite(self.depthwise(x)))
        return self.skip(x, out)  # type: ignore[no-any-return]


class InvertedResidualModule(nn.Module):
    def __init__(self, block: InvertedResidual, in_channels: int) -> None:
        super().__init__()
        expanded = block.expanded_channels
        self.expand = ConvUnit(in_channels, expanded, block.activation)
        self.depthwise = depthwise_unit(expanded, block.kernel, block.stride, block.activation)
        self.squeeze_excite = _build_squeeze_excite(block.squeeze_excite, expanded)
        self.project = ConvUnit(expanded, block.out_channels, Activation.IDENTITY)
        self.skip = SkipModule(block.skip, block.stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.squeeze_excite(self.depthwise(self.expand(x))))
        return self.skip(x, out)  # type: ignore[no-any-return]


class ShuffleV1Module(nn.Module):
    def __init__(self, block: ShuffleV1Unit, in_channels: int) -> None:
        super().__init__()
        bottleneck = block.bottleneck_channels
        branch = shuffle_v1_branch_channels(block, in_channels)
        self.groups, self.stride = block.groups, block.stride
        self.reduce = ConvUnit(in_channels, bottleneck, block.activation, groups=block.input_groups)
        self.depthwise = depthwise_unit(bottleneck, block.kernel, block.stride, Activation.IDENTITY)
        self.expand = ConvUnit(bottleneck, branch, Activation.IDENTITY, groups=block.groups)
        self.skip_pool = nn.AvgPool2d(3, 2, 1)
        self.activation = build_activation(block.activation)

    def forward(self, x: Tensor) -> Tensor:
        out = self.reduce(x)
        if self.groups > 1:
            out = channel_shuffle(out, self.groups)
        out = self.expand(self.depthwise(out))
        out = out + x if self.stride == 1 else torch.cat((self.skip_pool(x), out), 1)
        return self.activation(out)  # type: ignore[no-any-return]


class ShuffleV2Module(nn.Module):
    def __init__(self, block: ShuffleV2Unit, in_channels: int) -> None:
        super().__init__()
        half = block.out_channels // 2
        self.stride = block.stride
        if block.stride != 1:
            self.left_depthwise = depthwise_unit(
                in_channels, block.kernel, block.stride, Activation.IDENTITY
            )
            self.left_pointwise = ConvUnit(in_channels, half, block.activation)
        self.reduce = ConvUnit(
            half if block.stride == 1 else in_channels, block.branch_channels, block.activation
        )
        self.depthwise = depthwise_unit(
            block.branch_channels, block.kernel, block.stride, Activation.IDENTITY
        )
        self.expand = ConvUnit(block.branch_channels, half, block.activation)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            left, right = x.chunk(2, dim=1)
        else:
            left, right = self.left_pointwise(self.left_depthwise(x)), x
        right = self.expand(self.depthwise(self.reduce(right)))
        return channel_shuffle(torch.cat((left, right), 1), 2)


class PoolModule(nn.Module):
    def __init__(self, block: Pool) -> None:
        super().__init__()
        pool = nn.MaxPool2d if block.kind is PoolKind.MAX else nn.AvgPool2d
        self.pool = pool(block.kernel, block.stride, block.kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pool(x)
        return out


class ClassifierHeadModule(nn.Module):
    def __init__(self, block: ClassifierHead, in_channels: int) -> None:
        super().__init__()
        self.pool = GlobalAveragePool()
        features = in_channels
        if block.hidden_channels is not None:
            self.hidden: nn.Module = nn.Linear(in_channels, block.hidden_channels)
            features = block.hidden_channels
        else:
            self.hidden = nn.Identity()
        self.activation = build_activation(block.hidden_activation)
        self.dropout = nn.Dropout(block.dropout)
        self.classifier = nn.Linear(features, block.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        out = self.activation(self.hidden(self.pool(x).flatten(1)))
        logits: Tensor = self.classifier(self.dropout(out))
        return logits
