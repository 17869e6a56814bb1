import pytest

from netadapt.choice import Scored, best_proposal


@pytest.mark.parametrize(
    ("proposals", "best"),
    [
        # Of 0.9: loses 0.02 for 2 ms, 0.01 for 0.5 ms.
        ([(0.88, 2.0), (0.89, 0.5)], 0),
        # One that gains comes before all that lose, however little that saves.
        ([(0.899, 10.0), (0.901, 0.1)], 1),
        # Of two that gain, the one that gains more for a millisecond.
        ([(0.92, 4.0), (0.91, 1.0)], 1),
        # Equal accuracies: the one that saves more, and of equals the first.
        ([(0.9, 1.0), (0.9, 2.0), (0.9, 2.0)], 1),
        # Of two that lose alike, the one that saves more.
        ([(0.8, 1.0), (0.8, 3.0)], 1),
    ],
)
def test_the_least_accuracy_is_lost_for_a_millisecond(
    proposals: list[tuple[float, float]], best: int
) -> None:
    scored = [
        Scored(number=number, accuracy=accuracy, saved_ms=saved_ms)
        for number, (accuracy, saved_ms) in enumerate(proposals)
    ]
    assert best_proposal(scored, 0.9).number == best
