"""Samplers of whole networks. All are Optuna samplers; ``tpe``, ``random`` and ``nsga2`` are its own."""

from nas.samplers.base import History, SpaceSampler

__all__ = ["History", "SpaceSampler"]
