"""Evaluators: architecture → accuracy."""

from nas.evaluators.base import Evaluation, Evaluator
from nas.evaluators.proxy import ProxyEvaluator

__all__ = ["Evaluation", "Evaluator", "ProxyEvaluator"]
