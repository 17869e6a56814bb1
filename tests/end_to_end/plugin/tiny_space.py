"""A space of two stages and 24 networks, small enough to search in seconds; a plug-in, too."""

from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual
from search_spaces.spaces import Choices, SearchSpace, Stage


def tiny_space(*, resolution: int, num_classes: int) -> SearchSpace:
    return SearchSpace(
        name="tiny",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=(_stage("stage1", 8), _stage("stage2", 16)),
        head=(ClassifierHead(num_classes=num_classes),),
        resolution=resolution,
    )


def _stage(name: str, width: int) -> Stage:
    def layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
        block = InvertedResidual(
            expanded_channels=input_channels * int(values["expansion"]),
            out_channels=width,
            kernel=int(values["kernel"]),
            stride=2,
        )
        return (block,)

    return Stage(
        name=name,
        options={"kernel": (3, 5), "expansion": (2, 3, 4)},
        base={"kernel": 3, "expansion": 3},
        layers=layers,
    )
