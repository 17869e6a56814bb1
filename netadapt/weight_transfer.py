"""A trained network's weights, for a network that is made of it by leaving something out.

A channel is one thing, with its weights in all layers (``channels.py``): it is kept or dropped as a
whole. So one choice slices the layer that makes it, the batch norm with its running statistics, the
depthwise layer, the gate, and the input of whatever reads it, all along a residual chain.

Those whose filters have the largest L2 norm are kept (Yang et al., 2018, section 3.3). Of kernels
the middle is kept. What the smaller network has and the larger one had not is initialised at random
(Howard et al., 2019, section 4.2): nothing, but for ShuffleNets (``channel_match.py``).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netadapt.channel_match import ChannelMatch, match_channels
from netadapt.channels import Channel, TracedLayer, depthwise_names, trace_channels
from search_spaces.architecture import Architecture
from search_spaces.costs import NORM_COUNT, NORM_PARTS, state_shapes
from search_spaces.lowering import LoweredBlock, lower
from search_spaces.ops import Conv
from search_spaces.torch_model import build_model

Weights: TypeAlias = Mapping[str, Tensor]
Positions: TypeAlias = NDArray[np.int64]

MISSING = -1


class Keep(StrEnum):
    """Which channels stay: those with the filters of the largest L2 norm, or the first."""

    LARGEST_NORM = "largest_norm"
    FIRST = "first"


@torch.no_grad()
def transfer_weights(
    old: Architecture,
    weights: Weights,
    new: Architecture,
    *,
    sources: Sequence[int] | None = None,
    keep: Keep = Keep.LARGEST_NORM,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The ``state_dict`` of ``build_model(new)`` that follows from that of ``build_model(old)``.

    Logits are equal where nothing is left out, bit by bit; and but for rounding where what is
    dropped or moved (``match``) has no effect, such as channels whose filters and norms are zero.

    Args:
        old: the trained network.
        weights: its ``state_dict``, anywhere; the answer is a copy on the CPU.
        new: the smaller network, of the same classes and image channels.
        sources: of each block of ``new``, the index in ``old`` (``Proposal.sources``); by default
            the same, which needs equally many.
        keep: which channels stay.
        seed: of the random weights.

    Raises:
        ValueError: the weights are not those of ``old``, or ``new`` is not made of its blocks.
    """
    matched = match_networks(old, weights, new, sources=sources, keep=keep)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state: dict[str, Tensor] = build_model(new).state_dict()
    for name in matched.new.keys() & matched.old.keys():
        _copy_layer(matched, name, weights, state)
    return state


def match_networks(
    old: Architecture,
    weights: Weights,
    new: Architecture,
    *,
    sources: Sequence[int] | None = None,
    keep: Keep = Keep.LARGEST_NORM,
) -> ChannelMatch:
    """Which channels ``transfer_weights`` keeps; it has the same arguments.

    Raises:
        ValueError: the weights are not those of ``old``, or ``new`` is not made of its blocks.
    """
    sources = _checked_sources(old, new, sources)
    _check_weights(old, weights)
    wide = lower(old)
    names = _new_names(wide, sources)
    depthwise = depthwise_names(wide)
    traced = trace_channels(wide, depthwise)
    narrow = trace_channels(lower(new), {names[name] for name in depthwise if name in names})
    layers = {names[layer.op.name]: layer for layer in traced if layer.op.name in names}
    return match_channels(
        layers,
        {layer.op.name: layer for layer in narrow},
        _importance(traced, weights, keep),
    )


def _new_names(wide: Sequence[LoweredBlock], sources: Sequence[int]) -> dict[str, str]:
    """The operations of the blocks that stay, by their old names."""
    return {
        op.name: f"blocks.{position}{op.name.removeprefix(wide[index].name)}"
        for position, index in enumerate(sources)
        for op in wide[index].ops
    }


def _importance(
    layers: Iterable[TracedLayer], weights: Weights, keep: Keep
) -> Mapping[Channel, float]:
    """Of each channel, the squared L2 norm of the filters that make it, over all layers that do.

    Depthwise layers and gates make nothing: they change what is there.
    """
    squares: defaultdict[Channel, float] = defaultdict(float)
    if keep is Keep.FIRST:
        return squares
    for layer in layers:
        if layer.is_depthwise or layer.is_gate:
            continue
        filters = weights[f"{layer.op.name}.weight"].detach().flatten(1).double()
        for channel, square in zip(layer.writes, filters.square().sum(1).tolist(), strict=True):
            squares[channel] += square
    return squares


def _copy_layer(matched: ChannelMatch, name: str, weights: Weights, state: Weights) -> None:
    """Write what is known of one layer's weights over the fresh ones in ``state``."""
    old, new = matched.old[name], matched.new[name]
    rows = _positions(new.writes, old.writes, matched.sources)
    columns = _positions(new.reads, old.reads, matched.sources)
    _copy_filters(
        state[f"{name}.weight"], weights[f"{old.op.name}.weight"], *_cells(old, new, rows, columns)
    )
    if not isinstance(new.op, Conv) or new.op.norm is None:
        _copy_rows(state[f"{name}.bias"], weights[f"{old.op.name}.bias"], rows)
        return
    assert isinstance(old.op, Conv)
    for part in NORM_PARTS:
        _copy_rows(state[f"{new.op.norm}.{part}"], weights[f"{old.op.norm}.{part}"], rows)
    state[f"{new.op.norm}.{NORM_COUNT}"].copy_(weights[f"{old.op.norm}.{NORM_COUNT}"])


def _positions(
    new: Sequence[Channel], old: Sequence[Channel], sources: Mapping[Channel, Channel]
) -> Positions:
    """Where the channels on one side of a layer were on the same side of the old one."""
    places = {channel: position for position, channel in enumerate(old)}
    found = [places.get(sources.get(channel, MISSING), MISSING) for channel in new]
    return np.array(found, dtype=np.int64)


def _cells(
    old: TracedLayer, new: TracedLayer, rows: Positions, columns: Positions
) -> tuple[tuple[Positions, Positions], tuple[Positions, Positions]]:
    """The (filter, input) indices that are known: in the new weight, and of the same in the old."""
    if new.is_depthwise:
        kept = np.flatnonzero(rows != MISSING)
        first = np.zeros_like(kept)
        return (kept, first), (rows[kept], first)
    size, old_size = len(new.reads) // new.groups, len(old.reads) // old.groups
    group = np.arange(len(rows)) * new.groups // len(rows)
    read = columns[group[:, None] * size + np.arange(size)]
    old_group = rows * old.groups // len(old.writes)
    known = (
        (read != MISSING) & (rows != MISSING)[:, None] & (read // old_size == old_group[:, None])
    )
    filters, inputs = np.nonzero(known)
    return (filters, inputs), (rows[filters], read[known] % old_size)


def _copy_filters(
    new: Tensor, old: Tensor, to: tuple[Positions, Positions], of: tuple[Positions, Positions]
) -> None:
    """Copy by (filter, input) indices; of kernels, the middle that both have."""
    if new.dim() == 4:
        size = min(new.shape[-1], old.shape[-1])
        new, old = _middle(new, size), _middle(old, size)
    # ``new`` may be a view by now: what is written into it is written into the weight.
    filters, inputs = map(torch.from_numpy, to)
    new[filters, inputs] = old[tuple(map(torch.from_numpy, of))].to(new)


def _middle(kernels: Tensor, size: int) -> Tensor:
    """(O, I, K, K) → (O, I, size, size), a view."""
    edge = (kernels.shape[-1] - size) // 2
    return kernels[:, :, edge : edge + size, edge : edge + size]


def _copy_rows(new: Tensor, old: Tensor, rows: Positions) -> None:
    kept = torch.from_numpy(np.flatnonzero(rows != MISSING))
    new[kept] = old[torch.from_numpy(rows)[kept]].to(new)


def _checked_sources(
    old: Architecture, new: Architecture, sources: Sequence[int] | None
) -> Sequence[int]:
    """Of each new block, the old one, as given or by counting."""
    if sources is None:
        if len(new.blocks) != len(old.blocks):
            raise ValueError(
                f"sources must be given where blocks are left out, but {new.name} has "
                f"{len(new.blocks)} blocks of {len(old.blocks)}; a Proposal knows its sources"
            )
        sources = range(len(old.blocks))
    if len(sources) != len(new.blocks) or list(sources) != sorted(
        set(sources).intersection(range(len(old.blocks)))
    ):
        raise ValueError(
            f"sources must name an old block in 0..{len(old.blocks) - 1}, rising, for each "
            f"of the {len(new.blocks)} new ones, but got {list(sources)!r:.200}"
        )
    for position, index in enumerate(sources):
        theirs, ours = old.blocks[index], new.blocks[position]
        if type(theirs) is not type(ours):
            raise ValueError(
                f"blocks[{position}] is a {type(ours).__name__} and cannot have the weights of "
                f"blocks[{index}], a {type(theirs).__name__}; only widths and kernels may differ"
            )
    for field in ("num_classes", "image_channels"):
        if getattr(old, field) != getattr(new, field):
            raise ValueError(
                f"{field} must be the same, but got {getattr(old, field)} and "
                f"{getattr(new, field)}; only what lies between may change"
            )
    return sources


def _check_weights(architecture: Architecture, weights: Weights) -> None:
    expected = state_shapes(lower(architecture))
    given = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    names = sorted(expected.keys() | given.keys())
    if wrong := [name for name in names if expected.get(name) != given.get(name)]:
        raise ValueError(
            f"the weights are not those of {architecture.name}: {wrong[0]} must have the shape "
            f"{expected.get(wrong[0])}, but has {given.get(wrong[0])} (None: it is not there; "
            f"{len(wrong)} differ in all); give the state_dict of the network before the change"
        )
