"""The trials as a table. Everything that is drawn or printed about them is computed here."""

from collections.abc import Sequence

import pandas as pd

from nas.study import Candidate

FIGURES = ["number", "reward", "accuracy", "latency_ms", "madds", "params"]


def trial_table(found: Sequence[Candidate]) -> pd.DataFrame:
    """A row a finished trial: its figures, whether it is Pareto-optimal, and its choices."""
    rows = [{name: getattr(c, name) for name in FIGURES} | c.choices for c in found]
    table = pd.DataFrame(rows)
    table.insert(len(FIGURES), "pareto", pareto_optimal(table))
    return table


def pareto_optimal(table: pd.DataFrame) -> pd.Series:
    """Which rows no other beats: none is as fast and more accurate, nor as accurate and faster."""
    best = table.groupby("latency_ms")["accuracy"].max()
    best_of_faster = best.cummax().shift(fill_value=-1.0)
    latency_ms, accuracy = table["latency_ms"], table["accuracy"]
    return accuracy.eq(latency_ms.map(best)) & accuracy.gt(latency_ms.map(best_of_faster))
