"""Samplers of whole networks, all of them Optuna samplers."""

from nas.samplers.base import History, SpaceSampler
from nas.samplers.evolution import EvolutionSampler
from nas.samplers.lookup_aware import LookupAwareSampler
from nas.samplers.ppo import PpoSampler, PpoSettings

__all__ = [
    "EvolutionSampler",
    "History",
    "LookupAwareSampler",
    "PpoSampler",
    "PpoSettings",
    "SpaceSampler",
]
