"""The table of trials, and which of them no other beats."""

import pandas as pd
import pytest

from nas.report.trials import pareto_optimal, trial_table
from nas.study import Candidate


@pytest.mark.parametrize(
    ("points", "optimal"),
    [
        # (latency, accuracy)
        ([(1.0, 0.5)], [True]),
        ([(1.0, 0.5), (2.0, 0.6), (3.0, 0.7)], [True, True, True]),
        ([(3.0, 0.5), (2.0, 0.6), (1.0, 0.7)], [False, False, True]),
        ([(2.0, 0.6), (1.0, 0.5), (3.0, 0.55), (4.0, 0.7)], [True, True, False, True]),
        # As fast and less accurate, or as accurate and slower, is beaten.
        ([(1.0, 0.5), (1.0, 0.6)], [False, True]),
        ([(1.0, 0.5), (2.0, 0.5)], [True, False]),
        # Two that are equal do not beat each other, but are beaten together.
        ([(1.0, 0.5), (1.0, 0.5)], [True, True]),
        ([(2.0, 0.5), (1.0, 0.6), (2.0, 0.5)], [False, True, False]),
        ([(1.0, 0.0), (2.0, 0.0)], [True, False]),
    ],
)
def test_pareto_optimal(points: list[tuple[float, float]], optimal: list[bool]) -> None:
    table = pd.DataFrame(points, columns=["latency_ms", "accuracy"])
    assert pareto_optimal(table).tolist() == optimal


def test_the_index_of_the_table_does_not_matter() -> None:
    points = {"latency_ms": [3.0, 1.0, 2.0], "accuracy": [0.7, 0.5, 0.4]}
    table = pd.DataFrame(points, index=[7, 7, 9])
    assert pareto_optimal(table).tolist() == [True, True, False]


def test_a_row_a_trial_with_its_figures_and_choices() -> None:
    found = [
        Candidate(
            number=4,
            choices={"stage1.kernel": 3, "stage1.skip": "pool"},
            reward=0.8,
            accuracy=0.9,
            latency_ms=12.5,
            madds=300,
            params=40,
            peak_activation_bytes=400,
            network="Network(a)",
        ),
        Candidate(
            number=6,
            choices={"stage1.kernel": 5, "stage1.skip": "none"},
            reward=0.7,
            accuracy=0.8,
            latency_ms=13.0,
            madds=310,
            params=41,
            peak_activation_bytes=410,
            network="Network(b)",
        ),
    ]
    assert trial_table(found).to_csv(index=False).splitlines() == [
        "number,reward,accuracy,latency_ms,madds,params,pareto,stage1.kernel,stage1.skip",
        "4,0.8,0.9,12.5,300,40,True,3,pool",
        "6,0.7,0.8,13.0,310,41,False,5,none",
    ]
