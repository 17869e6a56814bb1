"""Seed networks, one YAML file each: the network, its source, and what was published about it."""

from search_spaces.seeds.loader import PublishedFigures, Seed, load_seed, read_seed, seed_names

__all__ = ["PublishedFigures", "Seed", "load_seed", "read_seed", "seed_names"]
