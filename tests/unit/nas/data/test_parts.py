"""Images of each share: equal class shares, decided by seed and contents."""

import numpy as np
import pytest

from nas.data.parts import divide


def _images(number: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 3, number), rng.integers(0, 2**64, number, dtype=np.uint64)


def test_shares_are_of_each_class() -> None:
    labels, digests = _images()
    parts = divide(labels, digests, seed=0, shares=(0.2, 0.1))
    assert sorted(np.concatenate(parts).tolist()) == list(range(1000))
    whole = np.bincount(labels)
    for part, share in zip(parts, (0.2, 0.1, 0.7), strict=True):
        assert np.abs(np.bincount(labels[part]) - share * whole).max() <= 2
        assert (np.diff(part) > 0).all()


def test_order_bears_on_nothing_and_the_seed_on_all() -> None:
    labels, digests = _images()
    first, *_ = divide(labels, digests, seed=5, shares=(0.3,))
    order = np.random.default_rng(1).permutation(1000)
    again, *_ = divide(labels[order], digests[order], seed=5, shares=(0.3,))
    assert set(digests[order][again]) == set(digests[first])
    other, *_ = divide(labels, digests, seed=6, shares=(0.3,))
    # What two seeds share is what chance makes them share.
    assert len(set(first) & set(other)) == pytest.approx(0.3 * 0.3 * 1000, abs=25)


def test_numbers_as_digests_are_as_good_as_any() -> None:
    labels = np.zeros(1000, np.int64)
    part, rest = divide(labels, np.arange(1000, dtype=np.uint64), seed=0, shares=(0.5,))
    assert len(part) == len(rest) == 500
    assert part.mean() == pytest.approx(500, abs=40)
    assert len(set(part) & set(range(0, 1000, 2))) == pytest.approx(250, abs=40)


def test_copies_stay_together() -> None:
    labels = np.zeros(90, np.int64)
    digests = np.repeat(np.random.default_rng(0).integers(0, 2**64, 30, dtype=np.uint64), 3)
    for seed in range(10):
        parts = divide(labels, digests, seed=seed, shares=(0.2, 0.25))
        kinds = [set(digests[part]) for part in parts]
        assert sum(map(len, kinds)) == 30
        assert len(parts[0]) == pytest.approx(18, abs=2)
