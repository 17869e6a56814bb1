"""The pages of searches and of trainings in a real browser."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nas.report.contents import SearchReport
from nas.report.page import render_page
from nas.report.training_contents import TrainingReport
from nas.report.training_page import render_page as render_training
from tests.chromium import Chromium, Scheme
from tests.page_checks import PHONE, VIEWS, check_in_browser, check_marks_are_shown, violations
from tests.pages import Page

MakeReport = Callable[..., SearchReport]
MakeTraining = Callable[..., TrainingReport]


@pytest.fixture
def file(make_report: MakeReport, tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_bytes(render_page(make_report()))
    return path


@pytest.fixture
def training(make_training: MakeTraining, tmp_path: Path) -> Path:
    path = tmp_path / "training.html"
    path.write_bytes(render_training(make_training(target_ms=10.0)))
    return path


@pytest.mark.parametrize("page", ["file", "training"])
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_is_accessible_and_fits(
    chromium: Chromium, page: str, width: int, scheme: Scheme, request: pytest.FixtureRequest
) -> None:
    check_in_browser(chromium, request.getfixturevalue(page), width, scheme)


def test_each_mark_shows_its_epoch(chromium: Chromium, training: Path) -> None:
    check_marks_are_shown(chromium, training, Page(training.read_bytes()).data("epochs"))


def test_each_mark_shows_its_network(chromium: Chromium, file: Path) -> None:
    check_marks_are_shown(chromium, file, Page(file.read_bytes()).data("trials"))


def test_what_would_be_loaded_is_refused(chromium: Chromium, file: Path) -> None:
    """The policy of the page holds, even where something got into it."""
    inserted = (
        b'<img src="https://example.org/a.png"><script>document.title = "run"</script>'
        b'<p onclick="0" style="color: red">a</p>'
    )
    file.write_bytes(file.read_bytes().replace(b"<main>", b"<main>" + inserted))
    with chromium.page(file, width=PHONE) as page:
        assert page.evaluate("document.title") == "small_10ms · chronas"
        assert page.refused == ["csp"]
        colour = page.evaluate("getComputedStyle(document.querySelector('p[onclick]')).color")
        assert colour != "rgb(255, 0, 0)"
        assert len(page.complaints) == 4  # the picture, the script, the handler, the colour


def test_the_checks_find_what_is_wrong(chromium: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<title>a</title><img src='missing.png'><p style='width: 900px'>wide</p>")
    with chromium.page(page, width=PHONE) as opened:
        assert {"html-has-lang", "image-alt"} <= {rule for rule, _ in violations(opened)}
        assert opened.evaluate("document.documentElement.scrollWidth") > PHONE
        assert len(opened.requests) == 2
        assert opened.complaints
