"""A network as rows: widths, strides and milliseconds of every kind of block."""

from collections.abc import Callable

import pytest

from latency.context import walk_in_context
from latency.keys import block_key
from latency.reach import Step
from latency.table import LatencyTable
from nas.report.blocks_drawing import KINDS, draw_bar, draw_outline, kernel_class, widest
from nas.report.network import block_rows, total_ms
from search_spaces import load_seed, seed_names
from search_spaces.yaml_io import BLOCK_TYPES


def test_blocks_are_those_of_the_paper() -> None:
    """MobileNetV3-Large, Table 1: rows 4 to 6, 5×5 with squeeze-and-excite, and the last stage."""
    rows = block_rows(load_seed("mobilenet_v3_large"), None)
    fourth, fifth = rows[4], rows[5]
    assert (str(fourth.input), str(fourth.output)) == ("24x56x56", "40x28x28")
    assert (fourth.layer.kernel, fourth.layer.inside, fourth.stride) == (5, 72, 2)
    assert (fourth.expansion, fourth.skip, fourth.activation) == (3.0, None, "relu")
    assert (fifth.layer.inside, fifth.expansion, fifth.skip) == (120, 3.0, "identity")
    assert fifth.layer.squeeze_excite is not None
    assert fifth.widths == (40, 120, 40)
    assert (rows[-1].layer.inside, rows[-1].layer.out, rows[-1].activation) == (
        1280,
        1000,
        "h_swish",
    )
    assert rows[0].expansion is None
    assert (rows[0].type, rows[0].stride, rows[0].activation) == ("conv_norm_act", 2, "h_swish")
    assert total_ms(rows) is None
    assert widest(rows) == 960


@pytest.mark.parametrize("name", seed_names())
def test_every_seed_can_be_drawn(name: str) -> None:
    rows = block_rows(load_seed(name), None)
    assert {row.type for row in rows} <= set(KINDS) == set(BLOCK_TYPES)
    most = widest(rows)
    for row in rows:
        drawn = draw_outline(row, most)
        assert f'class="{kernel_class(row)}"' in drawn
        assert ("gate" in drawn) == (row.layer.squeeze_excite is not None)
        assert ("skip" in drawn) == (row.skip is not None)


def test_blocks_add_up_to_the_network(
    table_of: Callable[[list[Step]], LatencyTable],
) -> None:
    network = load_seed("mobilenet_v3_small", resolution=64)
    table = table_of(walk_in_context(network))
    rows = block_rows(network, table)
    assert total_ms(rows) == pytest.approx(table.network_latency_ms(network), abs=1e-9)


def test_a_block_that_the_table_lacks_has_no_latency(
    make_table: Callable[..., LatencyTable],
) -> None:
    network = load_seed("mobilenet_v3_small", resolution=32)
    first = walk_in_context(network)[0]
    rows = block_rows(network, make_table({block_key(*first): 2.0}))
    assert rows[0].latency_ms == pytest.approx(2.0)
    assert {row.latency_ms for row in rows[1:]} == {None}
    assert total_ms(rows) is None


def test_bars_are_to_scale() -> None:
    assert 'width="25"' in draw_bar(0.5, 2.0)
    assert 'width="100"' in draw_bar(3.0, 2.0)
    assert 'width="0"' in draw_bar(0.0, 0.0)
    both = draw_bar(0.5, 2.0, before=1.0)
    assert both.index('width="50"') < both.index('width="25"')
