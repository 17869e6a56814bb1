"""Networks as Torch-Pruning (Fang et al., 2023) makes them, in our own description.

The library prunes a torch module. What it leaves are the same layers, narrower: their widths are
read off into an ``Architecture``, and their weights fit its module by name. So its networks are
timed and trained by the same code as all others.
"""

import copy
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from search_spaces.architecture import Architecture
from search_spaces.blocks import (
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
)
from search_spaces.torch_layers import Convolution, GlobalAveragePool
from search_spaces.torch_model import Network

DIVISOR = 8
TRACED_SIZE = 64
"""Pixels of the images that the library traces a module with."""


class Scope(StrEnum):
    """``uniform``: the same share of every layer is pruned. ``global``: all channels compete."""

    UNIFORM = "uniform"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """A network that the library made, and its weights."""

    architecture: Architecture
    weights: dict[str, Tensor]


def import_torch_pruning() -> ModuleType:
    """The library.

    Raises:
        ValueError: it is not installed.
    """
    try:
        return importlib.import_module("torch_pruning")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"torch-pruning must be installed, but there is no module {error.name!r}; the extra "
            "'pruning' brings it, and --no-library does without"
        ) from None


def pruning_path(
    model: Network, scope: Scope, *, most: float = 0.85, steps: int = 34
) -> Iterator[Pruned]:
    """The networks from ``model`` down to one without ``most`` of its channels, each narrower.

    Importance is the norm of a channel's weights in all layers that it is part of, as the library
    has it by default; widths are multiples of 8. ``model`` is left as it is. In ``steps`` steps the
    library reaches ratios that it would not reach at once: what it would round down to no channels
    at all, it leaves as it was.
    """
    library, pruned = import_torch_pruning(), with_plain_layers(model)
    size = (2, model.architecture.image_channels, TRACED_SIZE, TRACED_SIZE)
    pruner: Any = library.pruner.BasePruner(
        pruned,
        torch.zeros(size),
        importance=library.importance.GroupMagnitudeImportance(p=2),
        global_pruning=scope is Scope.GLOBAL,
        pruning_ratio=most,
        iterative_steps=steps,
        ignored_layers=[pruned.blocks[-1].classifier],
        round_to=DIVISOR,
    )
    for _ in range(steps):
        pruner.step()
        yield Pruned(
            architecture=architecture_of(pruned, model.architecture),
            weights=copy.deepcopy(pruned.state_dict()),
        )


def with_plain_layers(model: Network) -> Any:
    """A copy whose convolutions and pools are torch's own, which the library can trace."""
    plain = copy.deepcopy(model)
    for module in list(plain.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, Convolution):
                setattr(module, name, _plain_convolution(layer))
            elif isinstance(layer, GlobalAveragePool):
                setattr(module, name, nn.AdaptiveAvgPool2d(1))
    return plain.eval()


def _plain_convolution(layer: Convolution) -> nn.Conv2d:
    plain = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        layer.stride[0],
        layer.kernel_size[0] // 2,
        groups=layer.groups,
        bias=layer.bias is not None,
    )
    plain.load_state_dict(layer.state_dict())
    return plain


def architecture_of(pruned: Any, architecture: Architecture) -> Architecture:
    """The network before, with the widths that the module has now.

    Raises:
        ValueError: a block is of a kind that is not read.
    """
    blocks = tuple(map(_block_of, pruned.blocks, architecture.blocks))
    return replace(architecture, blocks=blocks)


def _block_of(module: Any, block: Block) -> Block:
    match block:
        case ConvNormAct():
            block = replace(block, out_channels=module.unit.conv.out_channels)
        case DepthwiseSeparable():
            block = replace(block, out_channels=module.pointwise.conv.out_channels)
        case InvertedResidual():
            block = replace(
                block,
                expanded_channels=module.expand.conv.out_channels,
                out_channels=module.project.conv.out_channels,
            )
        case ClassifierHead():
            if block.hidden_channels is None:
                return block
            return replace(block, hidden_channels=module.hidden.out_features)
        case Pool():
            return block
        case _:
            raise ValueError(
                f"--seed-network must be made of convolutions, inverted residuals and the like, "
                f"but has a {type(block).__name__}, whose widths are not read off a pruned module"
            )
    if block.squeeze_excite is None:
        return block
    channels = module.squeeze_excite.reduce.out_channels
    return replace(block, squeeze_excite=replace(block.squeeze_excite, channels=channels))
