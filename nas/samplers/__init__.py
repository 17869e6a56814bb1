"""Samplers of whole networks, all of them Optuna samplers."""

from nas.samplers.base import History, SpaceSampler
from nas.samplers.lookup_aware import LookupAwareSampler

__all__ = ["History", "LookupAwareSampler", "SpaceSampler"]
