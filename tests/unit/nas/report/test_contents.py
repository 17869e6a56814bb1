"""What a page shows of the table and of the search's targets; choices as a grid."""

from collections.abc import Callable

import pytest

from latency.plan import VALIDATION
from latency.table import LatencyTable, aggregate
from nas.report.contents import predicted_networks, target_links
from nas.report.drawings import draw_errors
from nas.report.explorer import FIGURES, choice_grid, choice_text


def test_networks_of_the_table_and_finalists_are_compared(
    make_visit: Callable[..., dict[str, object]], make_header: Callable[..., dict[str, object]]
) -> None:
    fields = {"role": VALIDATION, "parts": ["a", "b"], "boundaries": ["stubs"]}
    visits = [
        make_visit(key, ms, at, **more)
        for at in (0.0, 1.0)
        for key, ms, more in (
            ("a", 2.0, {}),
            ("b", 3.0, {}),
            ("stubs", 0.5, {}),
            ("whole", 4.0, fields),
        )
    ]
    table = LatencyTable(make_header(), aggregate(visits), "table.jsonl")
    finalist = {"trial": 7, "predicted_ms": 9.5, "undisturbed_ms": 10.0, "measured_ms": 11.0}
    networks = predicted_networks(table, [finalist])
    assert [(each.name, each.is_finalist) for each in networks] == [
        ("network 1", False),
        ("trial 7", True),
    ]
    # 2 + 3 − 0.5 ms against 4 ms, and 9.5 against 10 ms of an undisturbed machine.
    assert [each.error for each in networks] == pytest.approx([0.125, -0.05])
    drawn = draw_errors(networks, label="errors")
    assert [key.text for key in drawn.legend] == [
        "finalists of this search",
        "networks that the table was validated with",
        "within ±5 %",
    ]
    assert "trial 7: 9.500\N{NO-BREAK SPACE}ms predicted" in drawn.svg
    assert "−5.0" in drawn.svg


def test_targets_are_linked_from_one_page_to_the_next() -> None:
    assert target_links([15.0], 15.0) == ()
    links = target_links([8.0, 12.5, 15.0], 12.5)
    assert [(link.name, link.href) for link in links] == [
        ("8 ms", "../8ms/report.html"),
        ("12.5 ms", None),
        ("15 ms", "../15ms/report.html"),
    ]


def test_choices_stand_in_rows_and_columns() -> None:
    grid = choice_grid(["resolution", "stage1.kernel", "stage1.skip", "stage2.kernel"])
    first = 1 + len(FIGURES)
    assert grid.options == ("resolution", "kernel", "skip")
    assert grid.stages == ("network", "stage1", "stage2")
    assert grid.cells == (
        (first, None, None),
        (None, first + 1, first + 2),
        (None, first + 3, None),
    )
    assert choice_grid([]).stages == ()


@pytest.mark.parametrize(
    ("value", "text"), [(True, "yes"), (False, "no"), (1.0, "1"), (0.75, "0.75"), ("relu", "relu")]
)
def test_choices_are_written_for_people(value: float | str, text: str) -> None:
    assert choice_text(value) == text
