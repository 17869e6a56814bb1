"""Networks of timm beside ours, with equal weights: what one is compared with the other by."""

import importlib.util
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nas.training.peer_weights import TIMM_NORM_EPSILON
from search_spaces.architecture import Architecture
from search_spaces.torch_model import Network, build_model

Weighted = nn.Conv2d | nn.BatchNorm2d | nn.Linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One architecture as two modules with equal weights, both without dropout."""

    ours: Network
    theirs: nn.Module


@cache
def define_torchvision_operators() -> torch.library.Library | None:
    """Let torchvision be imported beside a torch its compiled operators were not built for.

    Its import registers a Python kernel for ``nms`` and fails where the operator is undefined. The
    definitions live as long as what is returned, which the cache keeps.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return None
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        operators.define(  # type: ignore[no-untyped-call]
            f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
    return operators


def import_timm() -> ModuleType:
    """timm, which imports torchvision.

    Raises:
        ValueError: it is not installed.
    """
    define_torchvision_operators()
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ValueError(
            f"timm must be installed, but there is no module {error.name!r}; "
            "`make test` installs it, as does the extra 'peers'"
        ) from None
    return timm


def build_timm(name: str, **options: Any) -> nn.Module:
    """timm's network ``name`` with fresh weights, and with ``options`` of ``timm.create_model``."""
    if name.startswith("mobilenetv1"):  # the paper has ReLU where timm's default is ReLU6
        options["act_layer"] = "relu"
    model: nn.Module = import_timm().create_model(name, pretrained=False, **options)
    return model


def layers_in_order(model: nn.Module, images: Tensor) -> list[Weighted]:
    """The layers with weights, in the order in which they run; the model is left in eval mode."""
    layers: list[Weighted] = []
    hooks = [
        module.register_forward_pre_hook(lambda layer, _: layers.append(layer))
        for module in model.modules()
        if isinstance(module, Weighted)
    ]
    with torch.no_grad():
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return layers


def carry_over(theirs: nn.Module, ours: nn.Module, images: Tensor) -> None:
    """Copy weights in the order in which layers run, so that no names need to be known.

    Raises:
        RuntimeError: a weight is left out, or layers differ in more than their weights.
    """
    layers, own_layers = layers_in_order(theirs, images), layers_in_order(ours, images)
    counts = [
        sum(p.numel() for p in theirs.parameters()),
        sum(p.numel() for layer in layers for p in layer.parameters()),
        sum(p.numel() for p in ours.parameters()),
        sum(p.numel() for layer in own_layers for p in layer.parameters()),
    ]
    if len(set(counts)) > 1 or len(layers) != len(own_layers):
        raise RuntimeError(
            f"both networks must have equal parameters, all in layers that run, but they have "
            f"{counts[0]:,} ({counts[1]:,} in {len(layers)} layers that run) and "
            f"{counts[2]:,} ({counts[3]:,} in {len(own_layers)})"
        )
    for number, (given, own) in enumerate(zip(layers, own_layers, strict=True)):
        _carry_over_layer(given, own, number)


def _carry_over_layer(theirs: Weighted, ours: Weighted, number: int) -> None:
    weights = theirs.state_dict()
    if isinstance(ours, nn.Linear) and isinstance(theirs, nn.Conv2d):
        fields: tuple[str, ...] = ()
        weights["weight"] = weights["weight"].flatten(1)
    elif isinstance(ours, nn.Conv2d):
        fields = ("kernel_size", "stride", "padding", "dilation", "groups")
    else:
        fields = ("eps",) if isinstance(ours, nn.BatchNorm2d) else ()
    for field in fields:
        own, given = getattr(ours, field), getattr(theirs, field)
        if own != given:
            raise RuntimeError(f"layer {number} has the {field} {own}, but timm's has {given}")
    ours.load_state_dict(weights)


def build_pair(architecture: Architecture, name: str, images: Tensor) -> Pair:
    """The architecture as our module and as timm's ``name``, with equal weights.

    Args:
        architecture: the network, whose dropout is left out.
        name: timm's name of it.
        images: ``(N, C, H, W)``, to run both on.

    Raises:
        ValueError: timm is not installed.
        RuntimeError: they are not the same network.
    """
    head = replace(architecture.head, dropout=0.0)
    architecture = replace(
        architecture, norm_epsilon=TIMM_NORM_EPSILON, blocks=(*architecture.blocks[:-1], head)
    )
    theirs = build_timm(
        name, num_classes=architecture.num_classes, drop_rate=0.0, drop_path_rate=0.0
    )
    pair = Pair(ours=build_model(architecture), theirs=theirs)
    carry_over(pair.theirs, pair.ours, images)
    return pair
