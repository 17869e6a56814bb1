"""What a change touches, against a walk of the whole network before and after."""

from dataclasses import replace

import pytest

from latency.context import walk_in_context
from netadapt.changes import ProposalKind, places
from netadapt.edits import edited_steps, narrow, with_steps
from netadapt.width_groups import width_groups
from search_spaces import load_seed, seed_names
from search_spaces.blocks import InvertedResidual


@pytest.mark.parametrize("name", seed_names())
def test_only_what_differs_is_touched_and_all_of_it(name: str) -> None:
    seed = load_seed(name)
    steps = walk_in_context(seed)
    for group in width_groups(seed):
        width = next(group.narrower_widths(8))
        touched = dict(edited_steps(steps, group.narrowed(seed, width)))
        whole = walk_in_context(narrow(seed, group, width))
        different = {
            i: new for i, (old, new) in enumerate(zip(steps, whole, strict=True)) if old != new
        }
        assert touched == different


def test_an_expansion_touches_one_block_and_a_bottleneck_its_chain_and_its_reader() -> None:
    seed = load_seed("mobilenet_v3_large")
    touched = {
        str(group.slots[0]): [
            index for index, _ in edited_steps(walk_in_context(seed), group.narrowed(seed, 16))
        ]
        for group in width_groups(seed)
    }
    assert touched["blocks.5.expanded_channels"] == [5]
    assert touched["blocks.4.out_channels"] == [4, 5, 6, 7]
    assert touched["blocks.17.hidden_channels"] == [17]


def test_a_block_left_out_changes_nothing_behind_it() -> None:
    seed = load_seed("mobilenet_v3_large")
    touched = list(edited_steps(walk_in_context(seed), {5: None}))
    assert touched == [(5, None)]
    smaller, sources = with_steps(seed, touched)
    assert smaller.blocks == seed.blocks[:5] + seed.blocks[6:]
    assert sources == (*range(5), *range(6, 18))


def test_a_block_without_which_nothing_fits_cannot_be_left_out() -> None:
    seed = load_seed("mobilenet_v3_large")
    with pytest.raises(ValueError, match="skip=identity needs equal"):
        list(edited_steps(walk_in_context(seed), {4: None}))


def test_an_edit_may_say_what_squeeze_and_excite_becomes() -> None:
    seed = load_seed("mobilenet_v3_large")
    block = seed.blocks[5]
    assert isinstance(block, InvertedResidual)
    bare = replace(block, squeeze_excite=None, expanded_channels=64)
    smaller, _ = with_steps(seed, edited_steps(walk_in_context(seed), {5: bare}))
    assert smaller.blocks[5] == bare


def test_places_of_kinds_that_are_off_by_default() -> None:
    seed = load_seed("mobilenet_v3_large")

    def texts(kind: ProposalKind) -> list[list[str]]:
        listed = ([change.text for change in changes] for changes in places(seed, [kind], 8))
        return [place for place in listed if place]

    assert texts(ProposalKind.KERNEL) == [
        [f"blocks.{index}: kernel 5 → 3"] for index in (4, 5, 6, 13, 14, 15)
    ]
    assert texts(ProposalKind.DEPTH) == [
        [f"blocks.{index}: left out"] for index in (1, 3, 5, 6, 8, 9, 10, 12, 14, 15)
    ]
    assert texts(ProposalKind.SQUEEZE_EXCITE) == [
        [f"blocks.{index}: without squeeze-and-excite"] for index in (4, 5, 6, 11, 12, 13, 14, 15)
    ]
