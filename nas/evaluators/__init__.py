"""Evaluators: architecture → accuracy."""

from nas.evaluators.base import (
    Evaluation,
    Evaluator,
    GivesWeights,
    KnowsSome,
    Monitor,
    NeedsPreparation,
    ScoresAtOnce,
    StoppedEarly,
)
from nas.evaluators.proxy import ProxyEvaluator
from nas.evaluators.supernet import SupernetEvaluator
from nas.evaluators.table import TableEvaluator

__all__ = [
    "Evaluation",
    "Evaluator",
    "GivesWeights",
    "KnowsSome",
    "Monitor",
    "NeedsPreparation",
    "ProxyEvaluator",
    "ScoresAtOnce",
    "StoppedEarly",
    "SupernetEvaluator",
    "TableEvaluator",
]
