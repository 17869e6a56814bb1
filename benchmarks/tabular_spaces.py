"""Two small spaces whose every network can be trained: what search methods are compared on.

``cells`` chooses an operation for each of six layers, as NAS-Bench-Macro does for eight;
``stages`` chooses kernel, expansion and depth for each of three stages, as MnasNet does for seven.
"""

from collections.abc import Callable
from functools import partial

from search_spaces.blocks import (
    Activation,
    Block,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.spaces import Choices, SearchSpace, Stage

WIDTHS = (8, 12, 16)
OPERATIONS = ("mb2_k3", "mb4_k5_se")


def cells_space(*, resolution: int = 96, num_classes: int = 10) -> SearchSpace:
    """729 networks: three stages of two layers; a stage's second layer may be left out."""
    stages = []
    for number, width in enumerate(WIDTHS, start=1):
        stages += [
            _cell(f"layer{number}a", width, stride=2, operations=(*OPERATIONS, "mb4_k3")),
            _cell(f"layer{number}b", width, stride=1, operations=(*OPERATIONS, "none")),
        ]
    return _space("cells", tuple(stages), resolution, num_classes)


def stages_space(*, resolution: int = 96, num_classes: int = 10) -> SearchSpace:
    """512 networks: three stages of one or two equal layers."""
    stages = tuple(
        Stage(
            name=f"stage{number}",
            options={"kernel": (3, 5), "expansion": (2, 4), "depth": (1, 2)},
            base={"kernel": 3, "expansion": 2, "depth": 1},
            layers=partial(_stage_layers, width),
        )
        for number, width in enumerate(WIDTHS, start=1)
    )
    return _space("stages", stages, resolution, num_classes)


SPACES: dict[str, Callable[..., SearchSpace]] = {"cells": cells_space, "stages": stages_space}


def _space(name: str, stages: tuple[Stage, ...], resolution: int, num_classes: int) -> SearchSpace:
    return SearchSpace(
        name=name,
        stem=(ConvNormAct(out_channels=8, kernel=3),),
        stages=stages,
        head=(ClassifierHead(num_classes=num_classes),),
        resolution=resolution,
    )


def _cell(name: str, width: int, *, stride: int, operations: tuple[str, ...]) -> Stage:
    return Stage(
        name=name,
        options={"op": operations},
        base={"op": operations[0]},
        layers=partial(_cell_layers, width, stride),
    )


def _cell_layers(
    width: int, stride: int, values: Choices, input_channels: int
) -> tuple[Block, ...]:
    operation = str(values["op"])
    if operation == "none":
        return ()
    expansion, kernel, *squeeze = operation.removeprefix("mb").split("_")
    expanded = input_channels * int(expansion)
    return (
        InvertedResidual(
            expanded_channels=expanded,
            out_channels=width,
            kernel=int(kernel.removeprefix("k")),
            stride=stride,
            activation=Activation.RELU,
            squeeze_excite=SqueezeExcite(channels=expanded // 4) if squeeze else None,
            skip=Skip.IDENTITY if stride == 1 else Skip.NONE,
        ),
    )


def _stage_layers(width: int, values: Choices, input_channels: int) -> tuple[Block, ...]:
    layers = []
    for layer in range(int(values["depth"])):
        entering = input_channels if layer == 0 else width
        layers.append(
            InvertedResidual(
                expanded_channels=entering * int(values["expansion"]),
                out_channels=width,
                kernel=int(values["kernel"]),
                stride=2 if layer == 0 else 1,
                skip=Skip.NONE if layer == 0 else Skip.IDENTITY,
            )
        )
    return tuple(layers)
