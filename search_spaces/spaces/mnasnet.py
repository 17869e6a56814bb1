"""The ``mnasnet`` space, as the paper has it (Tan et al., 2019, section 4.1).

A stage (the paper's "block") chooses its convolution, kernel, squeeze-and-excite ratio, skip
operation, filters and layers; only its first layer strides. The paper varies MobileNetV2; with
MnasNet-A1 as base, whose width 112 is off MobileNetV2's grid, A1 itself is a member.
"""

from functools import partial

from search_spaces.blocks import (
    Activation,
    Block,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.scaling import round_channels
from search_spaces.seeds import load_seed
from search_spaces.spaces.staged import (
    BaseStage,
    Choices,
    SearchSpace,
    Stage,
    base_stages,
    inner_skip,
)

CONV_OPS = ("conv", "separable", "mbconv3", "mbconv6")
KERNELS = (3, 5)
SQUEEZE_RATIOS = (0.0, 0.25)
SKIPS = (str(Skip.POOL), str(Skip.IDENTITY), str(Skip.NONE))
FILTERS = (0.75, 1.0, 1.25)


def mnasnet_space(
    *, resolution: int = 224, num_classes: int = 1000, base: str = "mnasnet_a1"
) -> SearchSpace:
    """The space around ``base``: ``mnasnet_a1``, or ``mobilenet_v2`` as in the paper.

    Raises:
        ValueError: there is no such seed, or it is no member of the space around it.
    """
    seed = load_seed(base, resolution=resolution).with_num_classes(num_classes)
    stages = base_stages(seed)
    space = SearchSpace(
        name="mnasnet",
        stem=seed.blocks[:1],
        stages=tuple(_stage(index, stage) for index, stage in enumerate(stages, start=1)),
        head=seed.blocks[-2:],
        resolution=resolution,
        norm_epsilon=seed.norm_epsilon,
    )
    space.encode(seed)
    return space


def _stage(number: int, base: BaseStage) -> Stage:
    first = base.first
    match first:
        case InvertedResidual():
            conv_op = f"mbconv{first.expanded_channels // base.input_channels}"
        case DepthwiseSeparable():
            conv_op = "separable"
        case ConvNormAct():
            conv_op = "conv"
        case _:
            raise ValueError(
                f"the base's stage {number} must be of {', '.join(CONV_OPS)}, "
                f"but is a {type(first).__name__}"
            )
    return Stage(
        name=f"stage{number}",
        options={
            "conv_op": CONV_OPS,
            "kernel": KERNELS,
            "squeeze_ratio": SQUEEZE_RATIOS,
            "skip": SKIPS,
            "filters": FILTERS,
            "layers": base.depth_offsets(),
        },
        base={
            "conv_op": conv_op,
            "kernel": first.kernel,
            "squeeze_ratio": 0.0 if first.squeeze_excite is None else 0.25,
            "skip": str(Skip.IDENTITY),
            "filters": 1.0,
            "layers": 0,
        },
        layers=partial(_layers, base, first.activation),
    )


def _layers(
    base: BaseStage, activation: Activation, values: Choices, input_channels: int
) -> tuple[Block, ...]:
    out_channels = round_channels(base.out_channels * float(values["filters"]))
    layers: list[Block] = []
    for layer in range(base.layers + int(values["layers"])):
        stride = base.stride if layer == 0 else 1
        skip = inner_skip(layer, Skip(str(values["skip"])))
        layers.append(_layer(activation, values, input_channels, out_channels, stride, skip))
        input_channels = out_channels
    return tuple(layers)


def _layer(
    activation: Activation,
    values: Choices,
    input_channels: int,
    out_channels: int,
    stride: int,
    skip: Skip,
) -> Block:
    conv_op, kernel = str(values["conv_op"]), int(values["kernel"])
    squeezed = int(input_channels * float(values["squeeze_ratio"]))
    squeeze_excite = SqueezeExcite(channels=squeezed) if squeezed else None
    if conv_op == "conv":
        return ConvNormAct(
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            activation=activation,
            squeeze_excite=squeeze_excite,
            skip=skip,
        )
    if conv_op == "separable":
        return DepthwiseSeparable(
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            activation=activation,
            squeeze_excite=squeeze_excite,
            skip=skip,
        )
    return InvertedResidual(
        expanded_channels=input_channels * int(conv_op.removeprefix("mbconv")),
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        activation=activation,
        squeeze_excite=squeeze_excite,
        skip=skip,
    )
