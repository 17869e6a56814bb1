"""The report page: self-contained, escaped, and with its verdict at the top."""

import random
from collections.abc import Callable
from dataclasses import replace

import jinja2
import pytest

from nas.report.contents import SearchReport, TargetLink
from nas.report.front import MOST_POINTS, build_front
from nas.report.history import search_history
from nas.report.page import render_page
from nas.report.trials import trial_table
from nas.reward import PowerReward
from nas.study import Candidate
from search_spaces.spaces import mobilenet_v3_space
from tests.pages import Page

MakeReport = Callable[..., SearchReport]

NETWORK = "blocks:\n  - {type: conv_norm_act}\n# </pre><script>alert(1)</script>"


def page_of(report: SearchReport) -> Page:
    return Page(render_page(report))


def test_nothing_is_loaded_from_outside(make_report: MakeReport) -> None:
    page_of(make_report()).check_loads_nothing()


@pytest.mark.parametrize(
    ("measured_ms", "verdict", "other"), [(9.8, "met", "missed"), (10.2, "missed", "met")]
)
def test_the_verdict_is_shown(
    make_report: MakeReport, measured_ms: float, verdict: str, other: str
) -> None:
    page = page_of(make_report(measured_ms=measured_ms))
    assert ("class", f"badge {verdict}") in page.attributes
    assert ("class", f"badge {other}") not in page.attributes
    start = f"Target 10 ms, measured {measured_ms:g} ms on a <fast> CPU: "
    assert page.text.index(start) < page.text.index("Milliseconds at batch 1")


def test_names_are_escaped(make_report: MakeReport) -> None:
    report = make_report()
    summary = {**report.summary, "name": "<b>run</b>", "command": "python 'a' <script>"}
    page = page_of(replace(report, summary=summary, network=NETWORK))
    assert "b" not in page.tags
    assert page.tags.count("script") == 2  # the data of the trials, and the page's own
    for name in (
        "<b>run</b>",
        "python 'a' <script>",
        "on a <fast> CPU",
        "</pre><script>alert(1)</script>",
    ):
        assert name in page.text
    page.check_loads_nothing()


def test_every_figure_is_there_with_its_unit(make_report: MakeReport) -> None:
    page = page_of(make_report())
    for text in (
        "10.00 ms", "9.500 ms", "9.800 ms", "6.00 to 10.00 ms",
        "92.00 %", "95.50 %", "94.30 %",
        "20 networks of 6.4e+01 in the space small.",
        "python -m nas.search target_latency=10ms",
    ):  # fmt: skip
        assert text in page.text
    bars = page.table_with("latency")
    assert [row[:2] for row in bars[1:]] == [
        ["target", "10.000"],
        ["predicted", "9.500"],
        ["measured", "9.800"],
        ["undisturbed", "9.600"],
    ]


def test_every_block_stands_there_with_its_milliseconds(make_report: MakeReport) -> None:
    """By hand: the stem takes 1.5 ms, kernels of 3 and 5 take 2 and 4 ms, and the head 0.5 ms."""
    report = make_report()
    header, *rows, total = page_of(report).table_with("kernel")
    choices = report.front.points[report.front.winner].candidate.choices
    kernels = choices["first.kernel"], choices["second.kernel"]
    took = {3: 2.0, 5: 4.0}
    expected = [1.5, took[kernels[0]], took[kernels[1]], 0.5]
    names = ["convolution", "inverted residual", "inverted residual", "classifier"]
    column = {name: header.index(name) for name in header}
    assert [row[column["block"]] for row in rows] == names
    assert [float(row[column["ms"]]) for row in rows] == pytest.approx(expected)
    shares = [float(row[column["share"]].removesuffix(" %")) for row in rows]
    assert shares == pytest.approx([100 * each / sum(expected) for each in expected], abs=0.06)
    assert total[column["ms"]] == f"{sum(expected):.3f}"
    assert [row[column["kernel"]] for row in rows] == [
        "3×3", f"{kernels[0]}×{kernels[0]}", f"{kernels[1]}×{kernels[1]}", "",
    ]  # fmt: skip
    assert [row[column["stride"]] for row in rows] == ["2", "1", "1", ""]
    assert rows[0][column["channels"]] == "3 → 8"
    assert rows[1][column["expansion"]] == "2× 16"
    assert rows[0][column["pixels"]] == "16×16"


def test_each_mark_has_its_network(make_report: MakeReport) -> None:
    report = make_report()
    page = page_of(report)
    rows = page.data("trials")
    assert len(rows) == 20
    marks = [int(value) for name, value in page.attributes if name == "data-row"]
    assert sorted(marks) == sorted([*range(20), *range(20)])  # in the front and in the history
    assert rows[7][0] == "trial 7, winner"
    assert rows[0][0] == "trial 0, base network"
    candidate = report.front.points[4].candidate
    assert rows[4][1] == f"{100 * candidate.accuracy:.2f}\N{NO-BREAK SPACE}%"
    assert rows[4][6:] == [
        {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
        for value in candidate.choices.values()
    ]
    # Before anything is pointed at, the winner is shown, choices and all.
    choices = page.table_with("stage")
    assert choices[0] == ["stage", "kernel", "width", "skip"]
    assert choices[1] == ["first", *rows[7][6:9]]
    assert choices[2] == ["second", *rows[7][9:]]


def test_what_is_not_known_is_said(make_report: MakeReport) -> None:
    page = page_of(make_report(trials=4))
    assert "needs 10 finished trials; there are 4" in page.text
    assert "knows no published network whole" in page.text
    assert "holds no whole networks to validate it with" in page.text


def test_pages_of_several_targets_know_each_other(make_report: MakeReport) -> None:
    links = (
        TargetLink(name="10 ms", href=None),
        TargetLink(name="12 ms", href="../12ms/report.html"),
    )
    page = page_of(replace(make_report(), targets=links))
    page.check_loads_nothing()
    assert ("href", "../12ms/report.html") in page.attributes
    assert "Targets: 10 ms 12 ms" in page.text
    assert "(in the folder above)" in page.text
    assert "Targets:" not in page_of(make_report()).text


def test_the_page_of_a_long_search_can_be_sent(make_report: MakeReport) -> None:
    """6000 trials of a space with 41 choices, most of which no front hides."""
    space, rng = mobilenet_v3_space(resolution=224, num_classes=10), random.Random(0)
    found = [
        Candidate(
            number=number, choices={name: rng.choice(v) for name, v in space.choices.items()},
            reward=0.0, accuracy=rng.random(), latency_ms=rng.uniform(5, 25), madds=300_000_000,
            params=4_000_000, peak_activation_bytes=1, network=str(number),
        )
        for number in range(6000)
    ]  # fmt: skip
    rewards = [each.accuracy for each in found]
    front = build_front(found, trial_table(found), rewards, (), winner=7, base=0, target_ms=15.0)
    history = tuple(search_history(found, PowerReward(), 15.0))
    content = render_page(replace(make_report(), front=front, history=history))
    assert 1_000_000 < len(content) < 6_000_000
    assert f"{6000 - MOST_POINTS} trials behind the front are not drawn" in Page(content).text


def test_a_summary_that_lacks_something_makes_no_page(make_report: MakeReport) -> None:
    report = make_report()
    del report.summary["accuracy"]["test"]
    with pytest.raises(jinja2.UndefinedError, match="test"):
        render_page(report)
