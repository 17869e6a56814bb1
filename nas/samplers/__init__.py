"""Samplers of whole networks. All are Optuna samplers; ``tpe``, ``random`` and ``nsga2`` are its own."""

from nas.samplers.base import History, SpaceSampler
from nas.samplers.lookup_aware import LookupAwareSampler

__all__ = ["History", "LookupAwareSampler", "SpaceSampler"]
