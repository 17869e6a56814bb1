"""Decoded images that are kept."""

import pickle

import numpy as np

from nas.data.kept import KeptCuts


def test_cuts_are_kept_until_there_is_no_room() -> None:
    kept, cut = KeptCuts(most_bytes=300), np.ones((5, 5, 3), np.uint8)
    for row in range(6):
        kept.put(row, 5, cut)
        kept.put(row, 5, cut)
    assert [kept.get(row, 5) is not None for row in range(6)] == [True] * 4 + [False] * 2
    assert kept.get(0, 4) is None


def test_another_process_begins_without_any() -> None:
    kept = KeptCuts(most_bytes=300)
    kept.put(0, 5, np.ones((5, 5, 3), np.uint8))
    other = pickle.loads(pickle.dumps(kept))
    assert other.get(0, 5) is None
    other.put(0, 5, np.zeros((5, 5, 3), np.uint8))
    assert kept.get(0, 5).max() == 1
