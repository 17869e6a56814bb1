"""Spaces around a base network: its stem and head stay, its stages vary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from search_spaces.architecture import Architecture
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
from search_spaces.shapes import TensorShape, output_shape
from search_spaces.spaces.stage import Stage
from search_spaces.spaces.staged import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseStage:
    """A stage of a base network: what a space varies around."""

    first: Block
    input_channels: int
    out_channels: int
    stride: int
    layers: int

    def scaled_channels(self, width: float) -> int:
        """``width`` times as many channels, as a multiple of 8."""
        return round_channels(self.out_channels * width)

    def depth_offsets(self, furthest: int = 1) -> tuple[int, ...]:
        """−1, 0, +1, or further on both sides, without what would leave the stage empty."""
        offsets = range(-furthest, furthest + 1)
        return tuple(offset for offset in offsets if self.layers + offset >= 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPlace:
    """Where a layer stands in its stage. Only the first one changes the shape."""

    input_channels: int
    out_channels: int
    stride: int
    is_first: bool


def space_around(
    base: str,
    make_stage: Callable[[int, BaseStage], Stage],
    *,
    name: str,
    resolution: int | Sequence[int],
    num_classes: int,
    stem: int = 1,
) -> SearchSpace:
    """The space of networks with the stem, of so many blocks, and the head of the seed ``base``.

    ``make_stage`` is given each stage's number, from 1, and the base's own.

    Raises:
        ValueError: there is no such seed, or ``make_stage`` cannot use one of its stages.
    """
    seed = load_seed(base).with_num_classes(num_classes)
    stages = enumerate(base_stages(seed, stem=stem), start=1)
    space = SearchSpace(
        name=name,
        stem=seed.blocks[:stem],
        stages=tuple(make_stage(number, stage) for number, stage in stages),
        head=seed.blocks[-2:],
        resolution=seed.resolution,
        norm_epsilon=seed.norm_epsilon,
    )
    return space.with_resolutions(resolution)


def stack_layers(
    base: BaseStage,
    input_channels: int,
    make_layer: Callable[[LayerPlace], Block],
    *,
    out_channels: int,
    depth_offset: int,
) -> tuple[Block, ...]:
    """The layers of a stage of another width than the base's, and deeper by an offset."""
    return tuple(
        make_layer(
            LayerPlace(
                input_channels=input_channels if layer == 0 else out_channels,
                out_channels=out_channels,
                stride=base.stride if layer == 0 else 1,
                is_first=layer == 0,
            )
        )
        for layer in range(base.layers + depth_offset)
    )


def mobile_layer(
    place: LayerPlace,
    *,
    expanded_channels: int | None,
    kernel: int,
    activation: Activation,
    squeeze_excite: SqueezeExcite | None,
    skip: Skip,
) -> DepthwiseSeparable | InvertedResidual:
    """An inverted residual, or a depthwise-separable layer where there is no expansion."""
    if expanded_channels is None:
        return DepthwiseSeparable(
            out_channels=place.out_channels,
            kernel=kernel,
            stride=place.stride,
            activation=activation,
            squeeze_excite=squeeze_excite,
            skip=skip,
        )
    return InvertedResidual(
        expanded_channels=expanded_channels,
        out_channels=place.out_channels,
        kernel=kernel,
        stride=place.stride,
        activation=activation,
        squeeze_excite=squeeze_excite,
        skip=skip,
    )


def base_stages(
    architecture: Architecture, *, stem: int = 1, head: int = 2
) -> tuple[BaseStage, ...]:
    """The stages of a network: successive blocks of equal width, but for ``stem`` and ``head``."""
    stages: list[list[tuple[Block, TensorShape]]] = []
    body = list(architecture.walk())[stem : len(architecture.blocks) - head]
    for block, shape in body:
        width = output_shape(block, shape).channels
        if stages and output_shape(*stages[-1][0]).channels == width:
            stages[-1].append((block, shape))
        else:
            stages.append([(block, shape)])
    return tuple(
        BaseStage(
            first=stage[0][0],
            input_channels=stage[0][1].channels,
            out_channels=output_shape(*stage[0]).channels,
            stride=-(-stage[0][1].height // output_shape(*stage[0]).height),
            layers=len(stage),
        )
        for stage in stages
    )
