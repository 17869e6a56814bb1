"""Which channel of a network becomes which channel of a narrower one.

What can stand in for what is decided by the layers that make and read a channel (and, where a
convolution has groups, by which of its groups): its *place*. The narrower network says how many
channels there are in each place; so many are kept. Where nothing is split, all that a layer makes
has one place, and along a residual chain all layers of it.

ShuffleNets split: in halves that are shuffled, and in groups. Narrowing moves the borders, so that
a few places need more channels than they had (in ShuffleNetV2 up to three a stage; in ShuffleNetV1
often more than are dropped, as stages share their channels but not their groups). They are filled
with channels of the same layers that would be dropped, those first that have most in common. Such
a channel is *moved*: its norms stay, and weights are missing only between it and what it is new to
(of all weights of the seeds 0.9 % at most, where a group is narrowed by one step).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from netadapt.channels import Channel, TracedLayer

Place: TypeAlias = frozenset[tuple[str, bool, int]]
"""(layer, whether it makes the channel or else reads it, in which group), for all that do."""

Layers: TypeAlias = Mapping[str, TracedLayer]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMatch:
    """How a narrower network follows from a wider one.

    Attributes:
        old, new: the layers of both networks, by the names that they have in the narrower one.
        sources: channels of the narrower network → those of the wider one that they were; what is
            not in it is new.
        moved: of these, channels of the wider network that lack weights in their new place.
        dropped: channels of the wider network that are no more, though layers of theirs are.
    """

    old: Layers
    new: Layers
    sources: Mapping[Channel, Channel]
    moved: frozenset[Channel]
    dropped: frozenset[Channel]


def match_channels(old: Layers, new: Layers, importance: Mapping[Channel, float]) -> ChannelMatch:
    """Keep the most important channels of each place, in their order.

    Args:
        old, new: the layers of both networks; equal layers have equal names.
        importance: of the old channels; of equal ones, the earlier is kept.
    """
    common = old.keys() & new.keys()
    available, wanted = _by_place(old, common), _by_place(new, common)
    all_old = {channel for channels in available.values() for channel in channels}
    sources: dict[Channel, Channel] = {}
    for place, channels in wanted.items():
        kept = _most_important(available.get(place, []), len(channels), importance)
        sources |= dict(zip(channels, kept, strict=False))
        available[place] = _without(available.get(place, []), kept)
    moved: set[Channel] = set()
    for place, channels in wanted.items():
        lacking = [channel for channel in channels if channel not in sources]
        for donor in _nearest(place, available) if lacking else ():
            given = _most_important(available[donor], len(lacking), importance)
            sources |= dict(zip(lacking, given, strict=False))
            available[donor] = _without(available[donor], given)
            moved.update(given)
            lacking = lacking[len(given) :]
    return ChannelMatch(
        old=old,
        new=new,
        sources=sources,
        moved=frozenset(moved),
        dropped=frozenset(all_old.difference(sources.values())),
    )


def _by_place(layers: Layers, names: Iterable[str]) -> dict[Place, list[Channel]]:
    """The channels of each place, in order."""
    places: defaultdict[Channel, set[tuple[str, bool, int]]] = defaultdict(set)
    for name in names:
        for channel, is_made, group in layers[name].places():
            places[channel].add((name, is_made, group))
    channels: dict[Place, list[Channel]] = {}
    for channel in sorted(places):
        channels.setdefault(frozenset(places[channel]), []).append(channel)
    return channels


def _most_important(
    channels: Iterable[Channel], count: int, importance: Mapping[Channel, float]
) -> list[Channel]:
    return sorted(sorted(channels, key=lambda c: (-importance.get(c, 0.0), c))[:count])


def _without(channels: Iterable[Channel], taken: Iterable[Channel]) -> list[Channel]:
    gone = set(taken)
    return [channel for channel in channels if channel not in gone]


def _nearest(place: Place, others: Iterable[Place]) -> list[Place]:
    """Of other places, those that the same layers make: most layers in common first."""
    common = {other: len(place & other) for other in others if _makers(other) == _makers(place)}
    return sorted(common, key=lambda other: -common[other])


def _makers(place: Place) -> set[str]:
    return {name for name, is_made, _ in place if is_made}
