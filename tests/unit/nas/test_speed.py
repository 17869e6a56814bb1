"""A search goes on at the speed that its machine had when it began."""

from collections.abc import Callable
from pathlib import Path

import pytest

from latency.table import LatencyTable
from nas.pipeline import at_speed_begun
from nas.run_folder import Folder
from search_spaces.spaces import SearchSpace


@pytest.fixture
def slower(small_table: LatencyTable) -> Callable[[float], LatencyTable]:
    """``slower(1.1)``: the small table of a machine that has become so much slower."""

    def make(slowness: float) -> LatencyTable:
        return LatencyTable(small_table.header, small_table.entries, "t.jsonl", slowness)

    return make


def test_predictions_stay_what_they_were(
    tmp_path: Path, small_space: SearchSpace, slower: Callable[[float], LatencyTable]
) -> None:
    folder, base = Folder(tmp_path), small_space.build(small_space.base_choices)
    other = small_space.build(small_space.base_choices | {"first.kernel": 5})
    first = at_speed_begun(small_space, slower(1.0), folder)
    assert first.network_latency_ms(base) == pytest.approx(6.0)
    for slowness in (1.1, 0.9):
        again = at_speed_begun(small_space, slower(slowness), folder)
        for network in (base, other):
            expected = first.network_latency_ms(network)
            assert again.network_latency_ms(network) == pytest.approx(expected)


def test_another_table_is_refused(
    tmp_path: Path, small_space: SearchSpace, slower: Callable[[float], LatencyTable]
) -> None:
    at_speed_begun(small_space, slower(1.0), Folder(tmp_path))
    with pytest.raises(ValueError, match=r"begun with other latencies: .* 9\.00 ms by t\.jsonl"):
        at_speed_begun(small_space, slower(1.5), Folder(tmp_path))
