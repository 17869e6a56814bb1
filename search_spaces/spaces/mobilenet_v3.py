"""The ``mobilenet_v3`` space: what MobileNetV3 is made of, chosen stage by stage.

Kernel, expansion, squeeze-and-excite, activation, width and depth around a base network, whose
stem and head stay. Squeeze-and-excite is MobileNetV3's: a quarter of the expansion, hard-sigmoid.
"""

from collections.abc import Sequence
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
from search_spaces.spaces.around import (
    BaseStage,
    LayerPlace,
    mobile_layer,
    space_around,
    stack_layers,
)
from search_spaces.spaces.stage import Choice, Choices, Stage
from search_spaces.spaces.staged import SearchSpace

KERNELS = (3, 5, 7)
EXPANSIONS = (3, 4, 6)
ACTIVATIONS = (str(Activation.RELU), str(Activation.H_SWISH))
WIDTHS = (0.75, 1.0, 1.25)


def mobilenet_v3_space(
    *,
    resolution: int | Sequence[int] = 224,
    num_classes: int = 1000,
    base: str = "mnasnet_a1",
) -> SearchSpace:
    """The space around ``base``, a seed of separable and inverted-residual blocks.

    The first layer of each of its stages says what the whole stage is at the start. Of several
    resolutions each network has one, a choice; the base has the largest.

    Raises:
        ValueError: there is no such seed, or it is not made of such blocks.
    """
    return space_around(
        base, _stage, name="mobilenet_v3", resolution=resolution, num_classes=num_classes
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
    return stack_layers(
        base,
        input_channels,
        partial(_layer, values),
        out_channels=base.scaled_channels(float(values["width"])),
        depth_offset=int(values["depth"]),
    )


def _layer(values: Choices, place: LayerPlace) -> Block:
    expanded = place.input_channels * int(values.get("expansion", 1))
    squeeze_excite = (
        SqueezeExcite(channels=round_channels(expanded / 4), gate=Activation.HARD_SIGMOID)
        if values["squeeze_excite"]
        else None
    )
    kernel, activation = int(values["kernel"]), Activation(str(values["activation"]))
    skip = Skip.NONE if place.is_first else Skip.IDENTITY
    return mobile_layer(
        place,
        expanded_channels=expanded if "expansion" in values else None,
        kernel=kernel,
        activation=activation,
        squeeze_excite=squeeze_excite,
        skip=skip,
    )
