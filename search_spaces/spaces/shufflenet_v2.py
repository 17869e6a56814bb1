"""The ``shufflenet_v2`` space: width, depth, kernel and kind of unit around a ShuffleNetV2.

A stage (Ma et al., 2018, Table 5) chooses

- its width, from the widths that the base's stage has at several multipliers: the paper's own
  where it prints them, so that 0.5×, 1× and 1.5× are members, whole or stage by stage;
- its depth: up to two units more or fewer;
- its kernel: 3, 5 or 7, as the choice blocks of Single Path One-Shot (Guo et al., 2019) have;
- its kind of unit. ``shuffle`` is the paper's, whose working branch is equally wide throughout
  (guideline G1). ``narrow_shuffle`` and ``wide_shuffle`` have half and twice that inside it, a
  bottleneck and an inverted one, within the range of Single Path One-Shot's channel search.
  ``separable`` is MnasNet's: depthwise, then pointwise over all channels, and a residual.

So the search finds out whether guideline G1 and the shuffle pay on a device: ``narrow_shuffle``
has half, ``wide_shuffle`` and ``separable`` have twice the multiply-adds of a ``shuffle`` as wide
(in 1×1 convolutions), but ``separable`` moves no channels about, which takes time and no
multiply-adds. An inverted residual of expansion 3 would have twelve times as many, and most of a
space that held it would be far from its base. Single Path One-Shot's other choice block, with
three depthwise layers, is no block of ours.
"""

from collections.abc import Mapping, Sequence
from functools import partial

from search_spaces.blocks import Activation, Block, ShuffleV2Unit, Skip
from search_spaces.seeds import load_seed
from search_spaces.spaces.around import (
    BaseStage,
    LayerPlace,
    base_stages,
    mobile_layer,
    space_around,
    stack_layers,
)
from search_spaces.spaces.stage import Choices, Stage
from search_spaces.spaces.staged import SearchSpace

STEM_BLOCKS = 2
"""A convolution and a max pool."""

WIDTHS = (0.5, 0.75, 1.0, 1.25, 1.5)
KERNELS = (3, 5, 7)
MOST_UNITS_MORE = 2
OUT_OVER_BRANCH = {"shuffle": 2, "narrow_shuffle": 4, "wide_shuffle": 1}
"""Output channels ÷ those within the working branch."""

UNITS = (*OUT_OVER_BRANCH, "separable")


def shufflenet_v2_space(
    *,
    resolution: int | Sequence[int] = 224,
    num_classes: int = 1000,
    base: str = "shufflenet_v2_x1_0",
) -> SearchSpace:
    """The space around ``base``, a seed of ShuffleNetV2 units behind a convolution and a pool.

    Of several resolutions each network has one, a choice; the base has the largest.

    Raises:
        ValueError: there is no such seed, or it is no member of the space around it.
    """
    space = space_around(
        base,
        partial(_stage, base),
        name="shufflenet_v2",
        resolution=resolution,
        num_classes=num_classes,
        stem=STEM_BLOCKS,
    )
    space.encode(load_seed(base, resolution=space.resolution))
    return space


def _stage(base_name: str, number: int, base: BaseStage) -> Stage:
    first = base.first
    if not isinstance(first, ShuffleV2Unit):
        raise ValueError(
            f"the base's stage {number} must be of ShuffleNetV2 units, "
            f"but is a {type(first).__name__}"
        )
    return Stage(
        name=f"stage{number}",
        options={
            "unit": UNITS,
            "kernel": KERNELS,
            "width": WIDTHS,
            "depth": base.depth_offsets(MOST_UNITS_MORE),
        },
        base={"unit": "shuffle", "kernel": first.kernel, "width": 1.0, "depth": 0},
        layers=partial(_layers, base, first.activation, _channels(base_name, number)),
    )


def _channels(base: str, stage: int) -> dict[float, int]:
    """How wide the stage of that number is at each of ``WIDTHS``; multiples of 4."""
    seeds = {width: load_seed(base, width) for width in WIDTHS}
    return {
        width: base_stages(seed, stem=STEM_BLOCKS)[stage - 1].out_channels
        for width, seed in seeds.items()
    }


def _layers(
    base: BaseStage,
    activation: Activation,
    channels: Mapping[float, int],
    values: Choices,
    input_channels: int,
) -> tuple[Block, ...]:
    return stack_layers(
        base,
        input_channels,
        partial(_layer, activation, values),
        out_channels=channels[float(values["width"])],
        depth_offset=int(values["depth"]),
    )


def _layer(activation: Activation, values: Choices, place: LayerPlace) -> Block:
    unit, kernel = str(values["unit"]), int(values["kernel"])
    if unit in OUT_OVER_BRANCH:
        return ShuffleV2Unit(
            branch_channels=place.out_channels // OUT_OVER_BRANCH[unit],
            out_channels=place.out_channels,
            kernel=kernel,
            stride=place.stride,
            activation=activation,
        )
    return mobile_layer(
        place,
        expanded_channels=None,
        kernel=kernel,
        activation=activation,
        squeeze_excite=None,
        skip=Skip.NONE if place.is_first else Skip.IDENTITY,
    )
