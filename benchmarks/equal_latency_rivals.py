"""Which networks are trained in the end: NetAdapt's, and at each point what measures the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from benchmarks.equal_latency_points import Point, closest
from benchmarks.library_pruning import Pruned, Scope, pruning_path
from latency.keys import network_key
from nas.training.weights import load_weights, save_weights
from search_spaces import Architecture, build_model
from search_spaces.scaling import LastRule, WidthRule, scale_width

WIDTHS = tuple(hundredth / 100 for hundredth in range(10, 100))
"""The multipliers that are looked at."""


class Method(StrEnum):
    """What made a network. ``full`` is the seed network itself, where all rivals' curves begin."""

    NETADAPT = "netadapt"
    MULTIPLIER = "multiplier"
    GENEROUS = "multiplier_generous"
    UNIFORM = "torch_pruning_uniform"
    GLOBAL = "torch_pruning_global"
    FULL = "full"


SCOPES = {Method.UNIFORM: Scope.UNIFORM, Method.GLOBAL: Scope.GLOBAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Of trainings, in steps: of the seed, of each proposal, and of each network in the end."""

    seed: int
    tuning: int
    final: int

    def chosen(self, point: Point) -> int:
        """All that led to a point's network."""
        return self.seed + point.chosen * self.tuning + self.final

    def spent(self, point: Point) -> int:
        """The same with the proposals that were not taken."""
        return self.seed + point.proposals * self.tuning + self.final


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A network that is trained in the end.

    Attributes:
        point: its number; 0 for the seed network itself.
        weights: what it begins with, which ``before`` steps have led to; ``None``: from scratch.
        steps: of its last training.
        spent: all steps, with those of proposals that were not taken.
    """

    method: Method
    seed: int
    point: int
    target_ms: float
    architecture: Architecture
    weights: Path | None
    before: int
    steps: int
    spent: int

    @property
    def name(self) -> str:
        return f"{self.method}-seed{self.seed}-point{self.point}"


def multiplied(seed: Architecture, rule: WidthRule) -> list[Architecture]:
    """The seed at every multiplier of ``WIDTHS``, each network once.

    The last layer is narrowed with the rest. Families that keep it wide do so for a thousand
    classes; with few, that would cost the multiplier latency for nothing.
    """
    rule = replace(rule, last_layer=LastRule.SCALED)
    networks = {(each := scale_width(seed, width, rule)).blocks: each for width in WIDTHS}
    return list(networks.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """NetAdapt's points of one random seed, and their rivals.

    Attributes:
        network: that all begin with.
        weights: the file of its trained weights.
        folder: for weights of pruned networks.
        multiplied: what a multiplier makes of it.
        pruned: what the library makes of it, by method.
        generous: whether the multiplier that trains for longer takes part.
    """

    seed: int
    points: Sequence[Point]
    network: Architecture
    weights: Path
    folder: Path
    lengths: Lengths
    multiplied: Sequence[Architecture]
    pruned: Mapping[Method, Sequence[Architecture]]
    generous: bool

    def to_measure(self) -> list[Architecture]:
        """All that could be trained."""
        pruned = (network for networks in self.pruned.values() for network in networks)
        return [*(point.architecture for point in self.points), *self.multiplied, *pruned]

    def cells(self, latencies_ms: Mapping[str, float]) -> Iterator[Cell]:
        """All that are trained, by what was measured of those ``to_measure``, by their keys."""
        yield self._full(self.lengths.chosen(self.points[-1]))
        for point in self.points:
            yield from self._at(point, latencies_ms)

    def _full(self, steps: int) -> Cell:
        """The seed network, for as long as the rivals that are trained for longest."""
        return Cell(
            method=Method.FULL,
            seed=self.seed,
            point=0,
            target_ms=0.0,
            architecture=self.network,
            weights=None,
            before=0,
            steps=steps,
            spent=steps,
        )

    def _at(self, point: Point, latencies_ms: Mapping[str, float]) -> Iterator[Cell]:
        total, spent = self.lengths.chosen(point), self.lengths.spent(point)
        latency_ms = latencies_ms[network_key(point.architecture)]
        shaved = Cell(
            method=Method.NETADAPT,
            seed=self.seed,
            point=point.number,
            target_ms=point.target_ms,
            architecture=point.architecture,
            weights=point.weights,
            before=total - self.lengths.final,
            steps=self.lengths.final,
            spent=spent,
        )
        yield shaved
        scratch = replace(
            shaved,
            method=Method.MULTIPLIER,
            architecture=_closest(latency_ms, self.multiplied, latencies_ms),
            weights=None,
            before=0,
            steps=total,
            spent=total,
        )
        yield scratch
        if self.generous:
            yield replace(scratch, method=Method.GENEROUS, steps=spent, spent=spent)
        for method, networks in self.pruned.items():
            network = _closest(latency_ms, networks, latencies_ms)
            yield replace(
                shaved,
                method=method,
                architecture=network,
                weights=self._pruned_weights(method, network),
                before=self.lengths.seed,
                steps=total - self.lengths.seed,
                spent=total,
            )

    def _pruned_weights(self, method: Method, network: Architecture) -> Path:
        """What the library leaves to a network, in a file."""
        path = self.folder / f"{method}-{network_key(network).partition('@')[0]}.pt"
        if not path.exists():
            path_down = prune(self.network, self.weights, method)
            save_weights(path, next(p.weights for p in path_down if p.architecture == network))
        return path


def prune(network: Architecture, weights: Path, method: Method) -> Iterator[Pruned]:
    """What the library makes of a trained network, narrower and narrower."""
    model = build_model(network)
    model.load_state_dict(load_weights(weights))
    return pruning_path(model, SCOPES[method])


def _closest(
    latency_ms: float, networks: Sequence[Architecture], latencies_ms: Mapping[str, float]
) -> Architecture:
    by_key = {network_key(network): network for network in networks}
    return by_key[closest(latency_ms, {key: latencies_ms[key] for key in by_key})]
