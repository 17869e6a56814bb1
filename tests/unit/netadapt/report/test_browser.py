"""The page of a NetAdapt run in a real browser."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netadapt.report.layers import LayerChange
from netadapt.report.page import render_page
from tests.chromium import Chromium, Scheme
from tests.page_checks import VIEWS, check_in_browser, check_marks_are_shown
from tests.pages import Page


@pytest.fixture
def file(summary: dict[str, Any], layers: list[LayerChange], tmp_path: Path) -> Path:
    known = [replace(each, row=replace(each.row, latency_ms=0.5)) for each in layers]
    path = tmp_path / "report.html"
    path.write_bytes(render_page(summary, known, "blocks: []"))
    return path


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_is_accessible_and_fits(
    chromium: Chromium, file: Path, width: int, scheme: Scheme
) -> None:
    check_in_browser(chromium, file, width, scheme)


def test_each_mark_shows_its_step(chromium: Chromium, file: Path) -> None:
    check_marks_are_shown(chromium, file, Page(file.read_bytes()).data("steps-data"))
