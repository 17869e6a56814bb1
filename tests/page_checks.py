"""What every page must stand in a real browser."""

from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest

from tests.chromium import Chromium, OpenPage, Scheme

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
PHONE, DESK = 360, 1280
VIEWS = [
    pytest.param(width, scheme, id=f"{width}px-{scheme}")
    for width in (PHONE, DESK)
    for scheme in ("light", "dark")
]
MOST_BYTES = 6_000_000


def check_in_browser(chromium: Chromium, file: Path, width: int, scheme: Scheme) -> None:
    """It asks for nothing but itself, fits the window, and axe-core finds nothing to mend."""
    assert file.stat().st_size < MOST_BYTES
    with chromium.page(file, width=width, scheme=scheme) as page:
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (
            scheme == "dark"
        )
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.requests == [file.resolve().as_uri()]
        assert page.evaluate("performance.getEntriesByType('resource').length") == 0
        assert page.complaints == []
        assert violations(page) == []


def violations(page: OpenPage) -> list[Any]:
    """What axe-core finds: the rule, and for each element its start and the reason."""
    page.evaluate(AXE.read_text() + "\n;0")
    found: list[Any] = page.evaluate(
        """axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id,
        nodes.map(({ html, any, all, none }) => [html.slice(0, 120),
        [...any, ...all, ...none].map(({ message }) => message)])]))"""
    )
    return found


def check_marks_are_shown(chromium: Chromium, file: Path, rows: list[list[str]]) -> None:
    """The first figure shows the row of the mark that is pointed at, touched, or come to by keys.

    Args:
        rows: of the figure's marks; their first texts are the titles.
    """
    with chromium.page(file, width=DESK, height=900) as page:
        title = "document.querySelector('.explorer [data-cell=\"0\"]').textContent"
        for row in (0, len(rows) - 1):
            page.point_at(*_middle(page, row))
            assert page.evaluate(title) == rows[row][0]
        page.evaluate("document.querySelector('.explorer .plot').focus()")
        page.press("Home")
        seen = [page.evaluate(title)]
        for _ in rows[1:]:
            page.press("ArrowRight")
            seen.append(page.evaluate(title))
        assert sorted(seen) == sorted(row[0] for row in rows)
        said = "document.querySelector('.explorer .plot').getAttribute('aria-valuetext')"
        assert page.evaluate(said) == seen[-1]
        page.press("ArrowRight")  # there is nothing beyond
        assert page.evaluate(title) == seen[-1]
        _check_all_cells(page, rows[[row[0] for row in rows].index(seen[-1])])
    with chromium.page(file, width=PHONE) as page:
        page.touch(*_middle(page, 0))
        assert page.evaluate(title) == rows[0][0]


def _middle(page: OpenPage, row: int) -> tuple[float, float]:
    """Where a mark is in the window, when it was scrolled to."""
    mark = f"document.querySelector('.explorer [data-row=\"{row}\"]')"
    page.evaluate(f"{mark}.scrollIntoView({{ block: 'center', inline: 'center' }})")
    box = page.evaluate(f"{mark}.getBoundingClientRect().toJSON()")
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def _check_all_cells(page: OpenPage, row: list[str]) -> None:
    shown = page.evaluate(
        """[...document.querySelector('.explorer').querySelectorAll('[data-cell]')]
        .map((cell) => [Number(cell.dataset.cell), cell.textContent])"""
    )
    assert shown == [[number, text] for number, text in enumerate(row)]
