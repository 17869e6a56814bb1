"""Published networks on this device, as far as a table knows them. Nothing is measured for it."""

from dataclasses import dataclass

from latency.table import LatencyTable, MissingEntryError
from search_spaces import Architecture, count_costs, load_seed, seed_names
from search_spaces.spaces import SearchSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNetwork:
    """A published network for the search's classes, at an image size of its space.

    Attributes:
        label: its name, and its image size where the space has several.
        latency_ms: predicted from the table.
    """

    label: str
    resolution: int
    latency_ms: float
    madds: int
    params: int


def known_seeds(space: SearchSpace, table: LatencyTable) -> list[SeedNetwork]:
    """The seeds all of whose blocks the table holds, the fastest first."""
    num_classes = _num_classes(space)
    found: list[SeedNetwork] = []
    for name in seed_names():
        seed = load_seed(name).with_num_classes(num_classes)
        for size in space.resolutions:
            network = seed.with_resolution(size)
            label = name if len(space.resolutions) == 1 else f"{name} {size}"
            if (known := _seed(network, label, table)) is not None:
                found.append(known)
    return sorted(found, key=lambda seed: (seed.latency_ms, seed.label))


def _num_classes(space: SearchSpace) -> int:
    return space.build(space.base_choices).num_classes


def _seed(network: Architecture, label: str, table: LatencyTable) -> SeedNetwork | None:
    try:
        latency_ms = table.network_latency_ms(network)
    except MissingEntryError:
        return None
    costs = count_costs(network)
    return SeedNetwork(
        label=label,
        resolution=network.resolution,
        latency_ms=latency_ms,
        madds=costs.madds,
        params=costs.params,
    )
