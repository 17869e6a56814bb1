"""The ``mobilenet_v3`` space: what MobileNetV3 is made of, chosen stage by stage.

Kernel, expansion, squeeze-and-excite, activation, width and depth around a base network, whose
stem and head stay. Squeeze-and-excite is MobileNetV3's: a quarter of the expansion, hard-sigmoid.
"""

from functools import partial

from search_spaces.blocks import (
    Activation,
    Block,
    DepthwiseSeparable,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.scaling import round_channels
from search_spaces.seeds import load_seed
from search_spaces.spaces.staged import (
    BaseStage,
    Choice,
    Choices,
    SearchSpace,
    Stage,
    base_stages,
    inner_skip,
)

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
ACTIVATIONS = (str(Activation.RELU), str(Activation.H_SWISH))
WIDTHS = (0.75, 1.0, 1.25)


def mobilenet_v3_space(
    *, resolution: int = 224, num_classes: int = 1000, base: str = "mnasnet_a1"
) -> SearchSpace:
    """The space around ``base``, a seed of separable and inverted-residual blocks.

    The first layer of each of its stages says what the whole stage is at the start.

    Raises:
        ValueError: there is no such seed, or it is not made of such blocks.
    """
    seed = load_seed(base, resolution=resolution).with_num_classes(num_classes)
    stages = base_stages(seed)
    return SearchSpace(
        name="mobilenet_v3",
        stem=seed.blocks[:1],
        stages=tuple(_stage(index, stage) for index, stage in enumerate(stages, start=1)),
        head=seed.blocks[-2:],
        resolution=resolution,
        norm_epsilon=seed.norm_epsilon,
    )


def _stage(number: int, base: BaseStage) -> Stage:
    first = base.first
    options: dict[str, tuple[Choice, ...]] = {
        "kernel": KERNELS,
        "squeeze_excite": (False, True),
        "activation": ACTIVATIONS,
        "width": WIDTHS,
        "depth": base.depth_offsets(),
    }
    match first:
        case DepthwiseSeparable():
            expansion: dict[str, Choice] = {}
        case InvertedResidual():
            options["expansion"] = EXPANSIONS
            expansion = {"expansion": first.expanded_channels // base.input_channels}
        case _:
            raise ValueError(
                f"the base's stage {number} must be separable or inverted-residual, "
                f"but is a {type(first).__name__}"
            )
    return Stage(
        name=f"stage{number}",
        options=options,
        base={
            "kernel": first.kernel,
            "squeeze_excite": first.squeeze_excite is not None,
            "activation": str(first.activation),
            "width": 1.0,
            "depth": 0,
            **expansion,
        },
        layers=partial(_layers, base),
    )


def _layers(base: BaseStage, values: Choices, input_channels: int) -> tuple[Block, ...]:
    out_channels = round_channels(base.out_channels * float(values["width"]))
    layers: list[Block] = []
    for layer in range(base.layers + int(values["depth"])):
        layers.append(
            _layer(values, input_channels, out_channels, base.stride if layer == 0 else 1, layer)
        )
        input_channels = out_channels
    return tuple(layers)


def _layer(
    values: Choices, input_channels: int, out_channels: int, stride: int, layer: int
) -> Block:
    expanded = input_channels * int(values.get("expansion", 1))
    squeeze_excite = (
        SqueezeExcite(channels=round_channels(expanded / 4), gate=Activation.HARD_SIGMOID)
        if values["squeeze_excite"]
        else None
    )
    kernel, activation = int(values["kernel"]), Activation(str(values["activation"]))
    skip = inner_skip(layer, Skip.IDENTITY)
    if "expansion" not in values:
        return DepthwiseSeparable(
            out_channels=out_channels,
            kernel=kernel,
            stride=stride,
            activation=activation,
            squeeze_excite=squeeze_excite,
            skip=skip,
        )
    return InvertedResidual(
        expanded_channels=expanded,
        out_channels=out_channels,
        kernel=kernel,
        stride=stride,
        activation=activation,
        squeeze_excite=squeeze_excite,
        skip=skip,
    )
