"""Runs beside each other: what is read of all kinds, what differs, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nas.compare import main
from nas.report.comparison import ComparedRun, differences, read_run, read_runs
from nas.report.comparison_page import draw_runs, explore_runs, labels_of, render_comparison
from tests.chromium import Chromium, Scheme
from tests.page_checks import VIEWS, check_in_browser, check_marks_are_shown
from tests.pages import Page

MakeSummary = Callable[..., dict[str, Any]]
SHAVED = {
    "name": "netadapt_small",
    "verdict": "missed",
    "latency": {"target_ms": 8.0, "predicted_ms": 7.9, "measured_ms": 8.2},
    "accuracy": {"validation": 0.9, "test": 0.875},
    "network": {"seed": {"madds": 9, "params": 9}, "best": {"madds": 5_000_000, "params": 1_500}},
    "steps": [],
    "data": {"name": "digits", "test_images": 2},
    "resolution": 64,
    "device": {
        "device": {"cpu": "a <fast> CPU"},
        "runtime": "onnxruntime",
        "runtime_version": "1.22.0",
        "provider": "CPUExecutionProvider",
    },
    "environment": {"threads": 2, "batch": 1, "precision": "fp32"},
}


def write(folder: Path, summary: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def folders(make_summary: MakeSummary, tmp_path: Path) -> list[Path]:
    """A search and a NetAdapt run under the same conditions."""
    return [
        write(tmp_path / "small_10ms", make_summary()),
        write(tmp_path / "netadapt_small", SHAVED),
    ]


def changed(summary: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The summary with another value at ``a.b``; ``None`` leaves it out."""
    copy: dict[str, Any] = json.loads(json.dumps(summary))
    *parts, last = path.split(".")
    place = copy
    for part in parts:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return copy


def test_both_kinds_of_runs_are_read(folders: list[Path]) -> None:
    search, shaved = read_runs(folders)
    assert (search.label, search.kind, search.verdict) == ("small_10ms", "search", "met")
    assert (search.target_ms, search.predicted_ms, search.measured_ms) == (10.0, 9.5, 9.8)
    assert (search.validation_accuracy, search.test_accuracy) == (0.955, 0.943)
    assert search.resolution == 48
    assert search.conditions == shaved.conditions
    assert search.conditions == {
        "processor": "a <fast> CPU",
        "runtime": "onnxruntime 1.22.0",
        "provider": "CPUExecutionProvider",
        "precision": "fp32",
        "threads": "2",
        "batch": "1",
        "data": "digits",
        "test images": "2",
    }
    assert (shaved.kind, shaved.verdict, shaved.resolution) == ("NetAdapt", "missed", 64)
    assert (shaved.madds, shaved.params) == (5_000_000, 1_500)
    assert differences([search, shaved]) == []


def test_a_training_may_lack_latencies(
    folders: list[Path],
    make_training_summary: MakeSummary,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "judged": {"target_ms": 9.0, "measured_ms": 9.1},
        "timed": {"measured_ms": 9.0},
        "untimed": {"timed": False, "target_ms": 9.0},
    }
    trained = [
        write(tmp_path / name, make_training_summary(name=name, **given))
        for name, given in places.items()
    ]
    judged, timed, untimed = read_runs(trained)
    assert (judged.kind, judged.verdict, judged.predicted_ms) == ("training", "missed", None)
    assert (timed.target_ms, timed.measured_ms, timed.verdict) == (None, 9.0, None)
    assert (untimed.target_ms, untimed.measured_ms, untimed.verdict) == (9.0, None, None)
    assert (judged.resolution, judged.test_accuracy) == (16, 0.7)
    assert judged.conditions["processor"] == "a <fast> CPU"
    # Nothing was measured in the last one, so no latency of it differs in its conditions.
    assert differences([judged, timed, untimed]) == []

    out = tmp_path / "c.html"
    assert main([*map(str, (folders[0], *trained)), "--out", str(out)]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert next(row for row in printed if "untimed" in row)[:5] == [
        "untimed",
        "9.000",
        "–",
        "–",
        "–",
    ]
    page = Page(out.read_bytes())
    page.check_loads_nothing()
    assert page.table_with("verdict")[3][1:7] == ["timed", "training", "–", "–", "9.000", "–"]
    assert "1 of 2 met their targets. 2 had no target, or were not measured." in page.text
    marks = [value for name, value in page.attributes if name == "data-row"]
    assert marks == ["0", "1", "2"]
    assert page.data("runs-data")[3][0] == "4: untimed"

    bare = [
        write(each, changed(make_training_summary(timed=False), "name", each.name))
        for each in trained
    ]
    assert main([*map(str, bare), "--out", str(out)]) == 0
    page = Page(out.read_bytes())
    assert "Accuracy over latency" not in page.text
    assert "met their targets" not in page.text


@pytest.mark.parametrize(
    ("path", "value", "condition", "about"),
    [
        ("device.device", {"cpu": "a slow CPU"}, "processor", "latencies"),
        ("device.runtime_version", "1.21.0", "runtime", "latencies"),
        ("environment.precision", "int8", "precision", "latencies"),
        ("environment.precision", None, "precision", "latencies"),
        ("environment.threads", 4, "threads", "latencies"),
        ("environment.batch", 8, "batch", "latencies"),
        ("data.name", "letters", "data", "accuracies"),
        ("data.test_images", 100, "test images", "accuracies"),
    ],
)
def test_what_differs_is_named(
    folders: list[Path],
    path: str,
    value: object,
    condition: str,
    about: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(folders[1], changed(SHAVED, path, value))
    (found,) = differences(read_runs(folders))
    assert (found.condition, found.about) == (condition, about)
    assert list(found.runs.values()) == [("small_10ms",), ("netadapt_small",)]
    if value is None:
        assert list(found.runs)[1] == "not recorded"
    assert main([*map(str, folders), "--out", str(folders[0] / "c.html")]) == 0
    assert f"warning: {about} are not comparable: {condition} differs: " in capsys.readouterr().out
    text = Page((folders[0] / "c.html").read_bytes()).text
    assert f"{condition} differs, so {about} cannot be compared" in text


def test_the_command_prints_the_table_and_writes_the_page(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "comparison.html"
    assert main([*map(str, folders), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in printed if "netadapt_small" in line)
    assert row[:5] == ["netadapt_small", "8.000", "7.900", "8.200", "missed"]
    assert row[5:9] == ["90.00", "%", "87.50", "%"]
    assert "warning" not in " ".join(printed)
    page = Page(out.read_bytes())
    page.check_loads_nothing()
    assert "1 of 2 met their targets." in page.text
    rows = page.table_with("verdict")
    assert rows[1][1:7] == ["small_10ms", "search", "10.000", "9.500", "9.800", "✓ met"]
    assert rows[2][1:7] == ["netadapt_small", "NetAdapt", "8.000", "7.900", "8.200", "✗ missed"]
    assert rows[2][7:] == ["90.00 %", "87.50 %", "5.00 M", "1.5 k", "64"]
    assert "Not all figures are comparable" not in page.text
    assert f"--out {out}" in page.text


def test_runs_of_one_name_are_told_apart(make_summary: MakeSummary, tmp_path: Path) -> None:
    places = ("two/8ms", "two/10ms", "other/10ms")
    folders = [write(tmp_path / place, make_summary()) for place in places]
    labels = [run.label for run in read_runs(folders)]
    assert labels == ["small_10ms/8ms", str(folders[1]), str(folders[2])]


def test_names_are_escaped(folders: list[Path], tmp_path: Path) -> None:
    write(folders[1], SHAVED | {"name": "[red]<b>x</b>"})
    assert main([*map(str, folders), "--out", str(tmp_path / "c.html")]) == 0
    page = Page((tmp_path / "c.html").read_bytes())
    assert "[red]<b>x</b>" in page.text
    assert "b" not in page.tags


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", ("summary.json is damaged",)),
        (b"\xff\xfe", ("summary.json is damaged",)),
        (b"[]", ("name must be a text, but is None",)),
        (json.dumps(changed(SHAVED, "verdict", "maybe")).encode(), ("met or missed", "'maybe'")),
        (
            json.dumps(changed(SHAVED, "latency.measured_ms", "8 ms")).encode(),
            ("latency.measured_ms must be a number", "'8 ms'"),
        ),
        (
            json.dumps(changed(SHAVED, "latency.measured_ms", float("nan"))).encode(),
            ("latency.measured_ms must be a number",),
        ),
        (json.dumps(changed(SHAVED, "network.best", None)).encode(), ("network.best.madds",)),
    ],
)
def test_a_damaged_summary_is_refused_in_one_line(
    folders: list[Path], content: bytes, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[1] / "summary.json").write_bytes(content)
    out = folders[0] / "c.html"
    assert main([*map(str, folders), "--out", str(out)]) == 2
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert error.startswith("nas.compare: error: ")
    assert all(word in error for word in words)
    assert not out.exists()


def test_what_cannot_be_compared_is_refused(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two runs or more can be compared, but 1 is given"):
        read_runs(folders[:1])
    with pytest.raises(ValueError, match="small_10ms is given more than once"):
        read_runs([*folders, tmp_path / "netadapt_small" / ".." / "small_10ms"])
    with pytest.raises(ValueError, match=r"none holds no summary\.json; give the folder of a"):
        read_run(tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds no summary\.json; it has a run for each target"):
        read_run(tmp_path)
    with pytest.raises(ValueError, match=r"holds no summary\.json"):
        read_run(folders[0] / "summary.json")


def test_marks_that_touch_share_a_label() -> None:
    places = [(10.0, 10.0), (100.0, 10.0), (12.0, 11.0), (11.0, 9.0)]
    assert list(labels_of(dict(enumerate(places, start=1))).values()) == ["1, 3, 4", "2"]


def test_the_most_accurate_that_met_its_target_is_shown_first(folders: list[Path]) -> None:
    search, shaved = read_runs(folders)
    explorer = explore_runs([shaved, search])
    assert explorer.shown[0] == "2: small_10ms"
    assert [key.text for key in draw_runs([search, search]).legend] == ["search"]


@pytest.fixture
def file(folders: list[Path], tmp_path: Path) -> Path:
    write(folders[1], changed(SHAVED, "environment.threads", 4))
    runs: list[ComparedRun] = read_runs(folders)
    path = tmp_path / "comparison.html"
    path.write_bytes(render_comparison(runs, "python -m nas.compare a b"))
    return path


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_the_page_is_accessible_and_fits(
    chromium: Chromium, file: Path, width: int, scheme: Scheme
) -> None:
    check_in_browser(chromium, file, width, scheme)


def test_each_mark_shows_its_run(chromium: Chromium, file: Path) -> None:
    check_marks_are_shown(chromium, file, Page(file.read_bytes()).data("runs-data"))
