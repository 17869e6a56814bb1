"""The weights of a network as torchvision and timm name them, under our names.

Neither library is needed. Which layer a tensor belongs to follows from its name alone, never from
its place in the file: a safetensors file is sorted by name, and many layers have equal shapes.
"""

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import torch
from torch import Tensor

from search_spaces import Architecture
from search_spaces.blocks import (
    Activation,
    Block,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Pool,
    ShuffleV2Unit,
)
from search_spaces.costs import NORM_COUNT, state_shapes
from search_spaces.lowering import lower

TIMM_NORM_EPSILON = 1e-5  # in its MobileNetV3 too, where the paper's code has 1e-3

Weights: TypeAlias = Mapping[str, Tensor]
Shape: TypeAlias = tuple[int, ...]


class Library(StrEnum):
    """Whose names they are."""

    OURS = "ours"
    TORCHVISION = "torchvision"
    TIMM = "timm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """Weights under our names, and the network that computes with them what it computed before.

    Attributes:
        library: whose names they had.
        architecture: the network, with what the library does otherwise.
        weights: its ``state_dict``; without the classifier's where that is of other classes.
        notes: what a person should know of all this, a sentence each.
    """

    library: Library
    architecture: Architecture
    weights: dict[str, Tensor]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Naming:
    """How a library names the layers of a family, in the order of ours.

    Names stand with spaces between them, for all layers that a block can have: a network has some
    of them. Whatever is named otherwise, or is of another kind of block, is another network's.

    Attributes:
        first: the layers of each block before the numbered ones.
        numbered: what the names of a numbered block begin with.
        layers: the names after that, by the kind of block.
        last: the layers after the numbered blocks.
    """

    library: Library
    first: tuple[str, ...]
    numbered: re.Pattern[str]
    layers: Mapping[type[Block], str]
    last: str

    def layers_of(self, blocks: Sequence[Block], present: Set[str]) -> list[str]:
        """Those of the layers ``present`` that are named so, in the order of ours in ``blocks``."""
        found = filter(None, map(self.numbered.match, present))
        begins = sorted({match[0] for match in found}, key=_numbers)
        names = " ".join(self.first).split()
        for begin, block in zip(begins, blocks[len(self.first) :], strict=False):
            names += [f"{begin}{layer}" for layer in self.layers.get(type(block), "").split()]
        return [name for name in [*names, *self.last.split()] if name in present]


def _numbers(name: str) -> list[int]:
    return [int(digits) for digits in re.findall(r"\d+", name)]


_NAMINGS = (
    _Naming(  # MobileNetV2 ("conv") and V3 ("block")
        library=Library.TORCHVISION,
        first=(),
        numbered=re.compile(r"features\.\d+\."),
        layers={
            ConvNormAct: "0 1",
            DepthwiseSeparable: "conv.0.0 conv.0.1 conv.1 conv.2 "
            "block.0.0 block.0.1 block.1.fc1 block.1.fc2 block.1.0 block.1.1 block.2.0 block.2.1",
            InvertedResidual: "conv.0.0 conv.0.1 conv.1.0 conv.1.1 conv.2 conv.3 "
            "block.0.0 block.0.1 block.1.0 block.1.1 block.2.fc1 block.2.fc2 "
            "block.2.0 block.2.1 block.3.0 block.3.1",
        },
        last="classifier.0 classifier.1 classifier.3",
    ),
    _Naming(  # MnasNet
        library=Library.TORCHVISION,
        first=("layers.0 layers.1", "layers.3 layers.4 layers.6 layers.7"),
        numbered=re.compile(r"layers\.\d+\.\d+\.layers\."),
        layers={InvertedResidual: "0 1 3 4 6 7"},
        last="layers.14 layers.15 classifier.1",
    ),
    _Naming(  # ShuffleNetV2
        library=Library.TORCHVISION,
        first=("conv1.0 conv1.1",),
        numbered=re.compile(r"stage\d+\.\d+\."),
        layers={
            ShuffleV2Unit: "branch1.0 branch1.1 branch1.2 branch1.3 "
            "branch2.0 branch2.1 branch2.3 branch2.4 branch2.5 branch2.6"
        },
        last="conv5.0 conv5.1 fc",
    ),
    _Naming(
        library=Library.TIMM,
        first=("conv_stem bn1",),
        numbered=re.compile(r"blocks\.\d+\.\d+\."),
        layers={
            ConvNormAct: "conv bn1",
            DepthwiseSeparable: "conv_dw bn1 se.conv_reduce se.conv_expand conv_pw bn2",
            InvertedResidual: "conv_pw bn1 conv_dw bn2 se.conv_reduce se.conv_expand conv_pwl bn3",
        },
        last="conv_head bn2 classifier",
    ),
)


def translate(state: Weights, architecture: Architecture) -> Translated:
    """Bring a ``state_dict`` of ours, torchvision's or timm's under our names.

    Raises:
        ValueError: it is of another network than ``architecture``, classes aside; the message says
            where they differ.
    """
    own_layers = _layers(state_shapes(lower(architecture)))
    library, layers = _recognised(architecture, own_layers, _layers(state))
    names = dict(zip(own_layers, layers, strict=True))
    classifier = own_layers[-1]
    classes = _classes(state, names[classifier], architecture.num_classes)
    shapes = state_shapes(lower(architecture.with_num_classes(classes)))
    weights = _renamed(state, shapes, names)
    computed = _as_computed_by(library, architecture)
    notes = _changes(architecture, computed, library)
    if classes != architecture.num_classes:
        weights = {name: value for name, value in weights.items() if _layer(name) != classifier}
        notes.append(
            f"its classifier of {classes} classes is left out: one of {architecture.num_classes} "
            "is initialised at random"
        )
    return Translated(library=library, architecture=computed, weights=weights, notes=tuple(notes))


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _layers(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(_layer, names)))


def _recognised(
    architecture: Architecture, own_layers: list[str], layers: list[str]
) -> tuple[Library, list[str]]:
    """Whose names the layers have, and the layers in the order of ours."""
    blocks = [block for block in architecture.blocks if not isinstance(block, Pool)]
    present = frozenset(layers)
    if present == frozenset(own_layers):
        return Library.OURS, own_layers
    for naming in _NAMINGS:
        found = naming.layers_of(blocks, present)
        if present == frozenset(found) and len(found) == len(own_layers):
            return naming.library, found
    raise ValueError(
        "its layers are not named as those of this network are here, in torchvision or in timm"
    )


def _classes(state: Weights, classifier: str, otherwise: int) -> int:
    """How many classes the file's classifier knows."""
    bias = state.get(f"{classifier}.bias")
    return otherwise if bias is None or bias.dim() != 1 else len(bias)


def _renamed(
    state: Weights, shapes: Mapping[str, Shape], names: Mapping[str, str]
) -> dict[str, Tensor]:
    """Every tensor that ``shapes`` has; ``names`` are the layers in ``state``, by ours.

    Raises:
        ValueError: one is missing, too many, or of another shape.
    """
    left = dict(state)
    weights: dict[str, Tensor] = {}
    for own_name, shape in shapes.items():
        part = own_name.rpartition(".")[2]
        name = f"{names[_layer(own_name)]}.{part}"
        given = left.pop(name, torch.tensor(0) if part == NORM_COUNT else None)
        if given is None:
            raise ValueError(f"{name} is missing")
        if given.shape == (*shape, 1, 1):  # a linear layer, written as a 1×1 convolution
            given = given.flatten(1)
        if given.shape != shape:
            raise ValueError(f"{name} has the shape {tuple(given.shape)}, and {shape} is needed")
        weights[own_name] = given
    if left:
        raise ValueError(f"{min(left)!r:.80} is left over")
    return weights


def _as_computed_by(library: Library, architecture: Architecture) -> Architecture:
    """timm has one epsilon for all networks, and ReLU6 in MobileNetV1, where the paper has ReLU."""
    if library is not Library.TIMM:
        return architecture
    blocks = architecture.blocks
    if all(isinstance(b, ConvNormAct | DepthwiseSeparable | ClassifierHead) for b in blocks):
        blocks = tuple(map(_with_relu6, blocks))
    return replace(architecture, norm_epsilon=TIMM_NORM_EPSILON, blocks=blocks)


def _with_relu6(block: Block) -> Block:
    def clipped(activation: Activation) -> Activation:
        return Activation.RELU6 if activation is Activation.RELU else activation

    match block:
        case ConvNormAct():
            return replace(block, activation=clipped(block.activation))
        case DepthwiseSeparable():
            return replace(
                block,
                activation=clipped(block.activation),
                output_activation=clipped(block.output_activation),
            )
        case _:
            return block


def _changes(given: Architecture, computed: Architecture, library: Library) -> list[str]:
    """What of the network is not as it was given, a sentence each."""
    changes = []
    if given.norm_epsilon != computed.norm_epsilon:
        changes.append(
            f"its batch norms have {library}'s epsilon, {computed.norm_epsilon:g} "
            f"instead of {given.norm_epsilon:g}"
        )
    if given.blocks != computed.blocks:
        changes.append(f"it has {library}'s ReLU6 instead of ReLU")
    return changes
