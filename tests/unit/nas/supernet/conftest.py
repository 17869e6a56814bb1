"""Spaces of every kind of block, and a small one to train."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch

from nas.data import MemorySplit, Split
from search_spaces.blocks import (
    Activation,
    Block,
    ClassifierHead,
    ConvNormAct,
    InvertedResidual,
    Pool,
    PoolKind,
    ShuffleV1Unit,
    ShuffleV2Unit,
    Skip,
    SqueezeExcite,
)
from search_spaces.spaces import (
    Choice,
    Choices,
    SearchSpace,
    Stage,
    mnasnet_space,
    mobilenet_v3_space,
)

MakeSpace = Callable[..., SearchSpace]
RandomChoices = Callable[[SearchSpace, int], list[dict[str, Choice]]]


def make_elastic_space(*, num_classes: int = 3) -> SearchSpace:
    """Elastic kernel, expansion, width, depth, squeeze-and-excite and skip; 2 stages."""
    return SearchSpace(
        name="elastic",
        stem=(ConvNormAct(out_channels=4, kernel=3, stride=2),),
        stages=tuple(_elastic_stage(number, width) for number, width in ((1, 4), (2, 6))),
        head=(ClassifierHead(num_classes=num_classes, hidden_channels=5, dropout=0.2),),
        resolution=16,
        norm_epsilon=1e-3,
    )


def _elastic_stage(number: int, width: int) -> Stage:
    return Stage(
        name=f"stage{number}",
        options={
            "kernel": (3, 5, 7),
            "expansion": (1, 2),
            "width": (width, 2 * width),
            "depth": (0, 1, 2),
            "squeeze_excite": (False, True),
        },
        base={"kernel": 3, "expansion": 2, "width": width, "depth": 1, "squeeze_excite": False},
        layers=_elastic_layers,
    )


def _elastic_layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    layers: list[Block] = []
    width = int(values["width"])
    for number in range(int(values["depth"])):
        expanded = (width if number else input_channels) * int(values["expansion"])
        squeeze_excite = SqueezeExcite(channels=expanded // 2, gate=Activation.HARD_SIGMOID)
        layers.append(
            InvertedResidual(
                expanded_channels=expanded,
                out_channels=width,
                kernel=int(values["kernel"]),
                stride=1 if number else 2,
                squeeze_excite=squeeze_excite if values["squeeze_excite"] else None,
                skip=Skip.IDENTITY if number else Skip.NONE,
            )
        )
    return tuple(layers)


def make_shuffle_space(*, num_classes: int = 3) -> SearchSpace:
    """ShuffleNets' units, of either kind in either of two stages."""
    return SearchSpace(
        name="shuffle",
        stem=(
            ConvNormAct(out_channels=8, kernel=3, stride=2),
            Pool(kind=PoolKind.MAX, kernel=3, stride=1),
        ),
        stages=tuple(
            Stage(
                name=f"stage{number}",
                options={"unit": ("v1", "v2"), "kernel": (3, 5), "width": widths, "depth": (1, 3)},
                base={"unit": "v2", "kernel": 3, "width": widths[0], "depth": 1},
                layers=_shuffle_layers,
            )
            for number, widths in ((1, (16, 24)), (2, (32, 48)))
        ),
        head=(ConvNormAct(out_channels=16, kernel=1), ClassifierHead(num_classes=num_classes)),
        resolution=16,
    )


def _shuffle_layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    width, kernel = int(values["width"]), int(values["kernel"])
    make: dict[Choice, Callable[..., Block]] = {
        "v1": partial(ShuffleV1Unit, bottleneck_channels=width // 4, groups=2, input_groups=2),
        "v2": partial(ShuffleV2Unit, branch_channels=width // 2),
    }
    return tuple(
        make[values["unit"]](out_channels=width, kernel=kernel, stride=1 if number else 2)
        for number in range(int(values["depth"]))
    )


SPACES: dict[str, MakeSpace] = {
    "elastic": make_elastic_space,
    "shuffle": make_shuffle_space,
    "mobilenet_v3": partial(mobilenet_v3_space, resolution=32),
    "mnasnet": partial(mnasnet_space, resolution=32),
}


@pytest.fixture(params=SPACES.values(), ids=SPACES, scope="session")
def any_space(request: pytest.FixtureRequest) -> SearchSpace:
    space: SearchSpace = request.param(num_classes=3)
    return space


@pytest.fixture(scope="session")
def elastic_space() -> SearchSpace:
    return make_elastic_space()


@pytest.fixture(scope="session")
def random_choices() -> RandomChoices:
    """(space, count) → choices of so many random networks, always the same ones."""

    def draw(space: SearchSpace, count: int) -> list[dict[str, Choice]]:
        rows = space.sample_indices(count, np.random.default_rng(0))
        return [space.choices_at(row) for row in rows]

    return draw


@pytest.fixture(scope="session")
def small_split() -> Split:
    """22 images of 3 classes."""
    images = torch.randn(22, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return MemorySplit(images=images, labels=torch.arange(22) % 3)
