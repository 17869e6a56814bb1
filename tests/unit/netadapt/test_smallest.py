"""What a run could come to at most."""

import pytest

from netadapt.changes import ProposalKind, places
from netadapt.proposals import ProposalSettings
from netadapt.smallest import smallest_descendant
from search_spaces import build_model, count_costs, load_seed, seed_names

EVERYTHING = ProposalSettings(kinds=tuple(ProposalKind))


@pytest.mark.parametrize("name", seed_names())
def test_nothing_of_the_smallest_can_become_smaller(name: str) -> None:
    seed = load_seed(name, resolution=64)
    for settings in (ProposalSettings(), EVERYTHING):
        smallest = smallest_descendant(seed, settings)
        for changes in places(smallest, settings.kinds, settings.divisor):
            assert not list(changes)
        assert count_costs(smallest).madds < count_costs(seed).madds / 5
        build_model(smallest)


def test_only_what_may_change_does() -> None:
    seed = load_seed("mobilenet_v3_large")
    settings = ProposalSettings(kinds=(ProposalKind.SQUEEZE_EXCITE,))
    smallest = smallest_descendant(seed, settings)
    assert [block.out_channels for block in smallest.blocks[:-1]] == [
        block.out_channels for block in seed.blocks[:-1]
    ]
    assert count_costs(smallest).params < count_costs(seed).params
