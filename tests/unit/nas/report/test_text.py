"""How figures are written."""

import pytest

from nas.report.text import decimals_ms, millions, ms, percent, signed_percent

GAP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (percent(0.94314), f"94.31{GAP}%"),
        (percent(None), "–"),
        (signed_percent(-0.0514), f"−5.1{GAP}%"),
        (signed_percent(0.0514, 2), f"+5.14{GAP}%"),
        (ms(0.1234), f"0.123{GAP}ms"),
        (ms(14.2), f"14.20{GAP}ms"),
        (ms(1234.5), f"1234.5{GAP}ms"),
        (ms(1.5, 1), f"1.5{GAP}ms"),
        (ms(None), "–"),
        (millions(2_618_848), f"2.62{GAP}M"),
        (millions(99_900), f"99.9{GAP}k"),
    ],
)
def test_figures_have_their_unit(written: str, text: str) -> None:
    assert written == text


def test_a_column_has_the_decimals_of_its_largest() -> None:
    assert decimals_ms([0.5, None, 9.9]) == 3
    assert decimals_ms([0.5, 10.0]) == 2
    assert decimals_ms([]) == 3
