"""A space of small networks that differ in all that a supernet shares: what rankings are tried on.

Three stages of inverted residuals for images of 32×32, each with its kernel, expansion, width,
depth and squeeze-and-excite: 4.3 million networks of 0.08 to 1.6 million multiply-adds. The
smallest are too small for the embedded digits; so accuracies differ by more than their noise, as
they do not among the networks of ``mobilenet_v3``, and each is trained in seconds.
"""

from collections.abc import Mapping

from search_spaces.blocks import (
    Activation,
    Block,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)
from search_spaces.spaces import Choice, Choices, SearchSpace, Stage

WIDTHS = {"stage1": (4, 8, 16), "stage2": (4, 12, 24), "stage3": (8, 16, 32)}
OPTIONS: Mapping[str, tuple[Choice, ...]] = {
    "kernel": (3, 5, 7),
    "expansion": (1, 2, 4),
    "depth": (1, 2, 3),
    "squeeze_excite": (False, True),
}


def elastic_space(*, resolution: int = 32, num_classes: int = 10) -> SearchSpace:
    """The space; the base has the middle of every option, and no squeeze-and-excite."""
    return SearchSpace(
        name="elastic",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=tuple(_stage(name, widths) for name, widths in WIDTHS.items()),
        head=(ClassifierHead(num_classes=num_classes),),
        resolution=resolution,
    )


def _stage(name: str, widths: tuple[int, ...]) -> Stage:
    options = {**OPTIONS, "width": widths}
    middle = {option: values[len(values) // 2] for option, values in options.items()}
    return Stage(
        name=name, options=options, base={**middle, "squeeze_excite": False}, layers=_layers
    )


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    width = int(values["width"])
    widths = (input_channels, *(width for _ in range(1, int(values["depth"]))))
    return tuple(
        _layer(values, channels, is_first=layer == 0) for layer, channels in enumerate(widths)
    )


def _layer(values: Choices, input_channels: int, *, is_first: bool) -> Block:
    expanded = input_channels * int(values["expansion"])
    squeeze_excite = SqueezeExcite(channels=expanded // 4, gate=Activation.HARD_SIGMOID)
    return InvertedResidual(
        expanded_channels=expanded,
        out_channels=int(values["width"]),
        kernel=int(values["kernel"]),
        stride=2 if is_first else 1,
        squeeze_excite=squeeze_excite if values["squeeze_excite"] else None,
        skip=Skip.NONE if is_first else Skip.IDENTITY,
    )
