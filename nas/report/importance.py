"""Which choices decide: Optuna's functional ANOVA over the finished trials."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from nas.study import Candidate, distributions
from search_spaces.spaces import SearchSpace

LEAST_TRIALS = 10
"""With fewer, a forest of regression trees sees differences where there is chance."""
MOST_TRIALS = 300
"""Of more, so many are taken, evenly: that takes seconds, and the shares change little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Importance:
    """What a choice accounts for of the variance between networks, in 0..1.

    Attributes:
        accuracy: of the accuracies that were found; ``None`` where all are equal.
        latency: of the predicted latencies; ``None`` where all are equal.
    """

    choice: str
    accuracy: float | None
    latency: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Importances:
    """The choices, the most important for accuracy first; or why there are none.

    Attributes:
        trials: how many were looked at.
        reason: a sentence, where something is missing.
    """

    rows: tuple[Importance, ...]
    trials: int
    reason: str | None = None


def choice_importances(found: Sequence[Candidate], space: SearchSpace) -> Importances:
    """Hutter et al., 2014, as Optuna computes it with a forest of 64 trees, always the same.

    Choices with one value are left out: nothing can come of them.
    """
    taken = _evenly(found, MOST_TRIALS)
    known = {name: each for name, each in distributions(space).items() if len(each.choices) > 1}  # type: ignore[attr-defined]
    if len(taken) < LEAST_TRIALS or not known:
        reason = (
            f"The importance of choices needs {LEAST_TRIALS} finished trials; there are "
            f"{len(taken)}."
            if known
            else "The space has no choices."
        )
        return Importances(rows=(), trials=len(taken), reason=reason)
    accuracy = _shares(taken, known, lambda each: each.accuracy)
    latency = _shares(taken, known, lambda each: each.latency_ms)
    rows = [
        Importance(
            choice=name,
            accuracy=None if accuracy is None else accuracy[name],
            latency=None if latency is None else latency[name],
        )
        for name in known
    ]
    rows.sort(key=lambda row: (-(row.accuracy or 0.0), -(row.latency or 0.0)))
    equal = "All accuracies are equal: no choice decided them." if accuracy is None else None
    return Importances(rows=tuple(rows), trials=len(taken), reason=equal)


def _shares(
    found: Sequence[Candidate],
    known: Mapping[str, BaseDistribution],
    value: Callable[[Candidate], float],
) -> dict[str, float] | None:
    """Each choice's share, which add up to 1; ``None`` where all values are equal."""
    values = [value(each) for each in found]
    if max(values) == min(values):
        return None
    study = optuna.create_study()
    study.add_trials(
        optuna.create_trial(
            params={name: each.choices[name] for name in known},
            distributions=dict(known),
            value=number,
        )
        for each, number in zip(found, values, strict=True)
    )
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(shares[name]) for name in known}


def _evenly(found: Sequence[Candidate], most: int) -> list[Candidate]:
    """At most so many of them, as far apart from each other as can be."""
    if len(found) <= most:
        return list(found)
    places = np.linspace(0, len(found) - 1, most).round().astype(int)
    return [found[place] for place in places]
