"""Evaluators: architecture → accuracy."""

from nas.evaluators.base import (
    Evaluation,
    Evaluator,
    GivesWeights,
    Monitor,
    NeedsPreparation,
    StoppedEarly,
)
from nas.evaluators.proxy import ProxyEvaluator
from nas.evaluators.supernet import SupernetEvaluator

__all__ = [
    "Evaluation",
    "Evaluator",
    "GivesWeights",
    "Monitor",
    "NeedsPreparation",
    "ProxyEvaluator",
    "StoppedEarly",
    "SupernetEvaluator",
]
