"""The ``mnasnet`` space, as the paper has it (Tan et al., 2019, section 4.1).

A stage (the paper's "block") chooses its convolution, kernel, squeeze-and-excite ratio, skip
operation, filters and layers; only its first layer strides. The paper varies MobileNetV2; with
MnasNet-A1 as base, whose width 112 is off MobileNetV2's grid, A1 itself is a member.
"""

from collections.abc import Sequence
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
from search_spaces.seeds import load_seed
from search_spaces.spaces.around import (
    BaseStage,
    LayerPlace,
    mobile_layer,
    space_around,
    stack_layers,
)
from search_spaces.spaces.stage import Choices, Stage
from search_spaces.spaces.staged import SearchSpace

CONV_OPS = ("conv", "separable", "mbconv3", "mbconv6")
KERNELS = (3, 5)
SQUEEZE_RATIOS = (0.0, 0.25)
SKIPS = (str(Skip.POOL), str(Skip.IDENTITY), str(Skip.NONE))
FILTERS = (0.75, 1.0, 1.25)


def mnasnet_space(
    *,
    resolution: int | Sequence[int] = 224,
    num_classes: int = 1000,
    base: str = "mnasnet_a1",
) -> SearchSpace:
    """The space around ``base``: ``mnasnet_a1``, or ``mobilenet_v2`` as in the paper.

    Of several resolutions each network has one, a choice; the base has the largest.

    Raises:
        ValueError: there is no such seed, or it is no member of the space around it.
    """
    space = space_around(
        base, _stage, name="mnasnet", resolution=resolution, num_classes=num_classes
    )
    space.encode(load_seed(base, resolution=space.resolution))
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
    return stack_layers(
        base,
        input_channels,
        partial(_layer, activation, values),
        out_channels=base.scaled_channels(float(values["filters"])),
        depth_offset=int(values["layers"]),
    )


def _layer(activation: Activation, values: Choices, place: LayerPlace) -> Block:
    conv_op, kernel = str(values["conv_op"]), int(values["kernel"])
    squeezed = int(place.input_channels * float(values["squeeze_ratio"]))
    squeeze_excite = SqueezeExcite(channels=squeezed) if squeezed else None
    skip = Skip.NONE if place.is_first else Skip(str(values["skip"]))
    if conv_op == "conv":
        return ConvNormAct(
            out_channels=place.out_channels,
            kernel=kernel,
            stride=place.stride,
            activation=activation,
            squeeze_excite=squeeze_excite,
            skip=skip,
        )
    factor = conv_op.removeprefix("mbconv")
    return mobile_layer(
        place,
        expanded_channels=None if conv_op == "separable" else place.input_channels * int(factor),
        kernel=kernel,
        activation=activation,
        squeeze_excite=squeeze_excite,
        skip=skip,
    )
