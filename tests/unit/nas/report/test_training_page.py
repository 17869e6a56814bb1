"""A training's page: its verdict, its network, its curves and its recipe."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latency.context import walk_in_context
from latency.measure import ensure_table
from latency.plan import no_progress
from nas.data import Augmentation
from nas.report.training_contents import TrainingReport
from nas.report.training_drawings import draw_loss
from nas.report.training_page import render_page
from nas.train_setup import TrainRun
from nas.training import TrainSettings
from nas.training.full import FullTraining
from tests.pages import Page

MakeTraining = Callable[..., TrainingReport]


def page_of(report: TrainingReport) -> Page:
    return Page(render_page(report))


@pytest.mark.parametrize(
    ("given", "lead", "badge"),
    [
        ({"target_ms": 10.0}, "Target 10 ms, measured 9.8 ms on a <fast> CPU : ✓ met", "met"),
        ({"target_ms": 9.0}, "Target 9 ms, measured 9.8 ms on a <fast> CPU : ✗ missed", "missed"),
        ({}, "Measured 9.8 ms on a <fast> CPU", None),
        ({"timed": False, "target_ms": 9.0}, "Target 9 ms, not measured (timed=false)", None),
        ({"timed": False}, "Not measured (timed=false)", None),
    ],
)
def test_the_verdict_is_shown_where_there_is_one(
    make_training: MakeTraining, given: dict[str, Any], lead: str, badge: str | None
) -> None:
    page = page_of(make_training(**given))
    page.check_loads_nothing()
    assert lead.replace(" :", ":") in page.text.replace(" :", ":")
    badges = [value for name, value in page.attributes if name == "class" and "badge" in value]
    assert badges == ([] if badge is None else [f"badge {badge}"])
    for text in ("70.00 %", "10 images of digits", "python -m nas.train arch=small.yaml"):
        assert text in page.text


def test_the_bars_are_what_is_known(make_training: MakeTraining) -> None:
    bars = page_of(make_training(target_ms=10.0)).table_with("latency")[1:]
    assert [row[:2] for row in bars] == [
        ["target", "10.000"],
        ["measured", "9.800"],
        ["undisturbed", "9.600"],
    ]
    assert len(page_of(make_training()).table_with("latency")) == 1 + 2
    untimed = page_of(make_training(timed=False, target_ms=10.0))
    assert "undisturbed" not in untimed.text
    assert "processor" not in untimed.text


def test_each_epoch_has_its_mark_in_each_curve(make_training: MakeTraining) -> None:
    """Of three epochs of two steps, the second was kept; the first step has a row of its own."""
    report = make_training()
    page = page_of(report)
    rows = [[cell.replace("\N{NO-BREAK SPACE}", " ") for cell in r] for r in page.data("epochs")]
    assert rows == [
        ["epoch 1", "25.00 %", "2.0000", "0.1", "200 images/s"],
        ["epoch 2, handed over", "75.00 %", "1.5000", "0.05", "200 images/s"],
        ["epoch 3", "50.00 %", "1.0000", "0", "300 images/s"],
    ]
    marks = [int(value) for name, value in page.attributes if name == "data-row"]
    assert marks == 3 * [0, 2, 1]  # what was kept is drawn above the others
    assert ("data-first", "1") in page.attributes
    line = draw_loss(report.log, kept=2).svg.partition('class="steps"')[0].rpartition('d="M')[2]
    points = [tuple(map(float, each.split())) for each in line.rstrip('" ').split("L")]
    assert len(points) == 4
    xs, ys = zip(*points, strict=True)
    # Steps 1, 2, 4 and 6; losses of 2.5, 2, 1.5 and 1.
    assert [(x - xs[0]) / (xs[1] - xs[0]) for x in xs] == pytest.approx([0, 1, 3, 5], abs=0.01)
    assert [(y - ys[0]) / (ys[1] - ys[0]) for y in ys] == pytest.approx([0, 1, 2, 3], abs=0.01)


@pytest.mark.parametrize("log", ["", "2,1,2,0,200,0.25\n"])
def test_a_log_may_be_short_or_gone(make_training: MakeTraining, log: str) -> None:
    page = page_of(make_training(log))
    page.check_loads_nothing()
    assert ("There is no log.csv to draw." in page.text) == (not log)
    assert page.tags.count("circle") >= (3 if log else 0)


def test_the_recipe_has_every_setting(make_training: MakeTraining) -> None:
    settings = TrainSettings(epochs=3, ema_decay=0.9999999, augmentation=Augmentation(flip=True))
    page = page_of(make_training(training=FullTraining(settings=settings, seed=3)))
    rows = {
        row[0]: row[1]
        for number in range(len(page.tables))
        for row in page.rows_of(number)
        if len(row) == 2
    }
    fields = set(TrainSettings.__dataclass_fields__) - {"augmentation"}
    assert rows.keys() >= {
        *fields,
        *(f"augmentation.{n}" for n in Augmentation.__dataclass_fields__),
    }
    assert (rows["ema_decay"], rows["epochs"], rows["gradient_clip"]) == ("0.9999999", "3", "–")
    assert (rows["augmentation.flip"], rows["compile"]) == ("true", "false")
    assert (rows["optimizer"], rows["weights"], rows["seed"]) == ("sgd", "random", "3")
    assert (rows["classes"], rows["test images"], rows["pixels"]) == ("10", "10", "16×16")
    assert rows["mean"] == "0.25, 0.25, 0.25"
    assert rows["note"] == "1 of 71 images cannot be read and is skipped: <a>.png"
    assert "with averaged weights after epoch 2 of 3, the last." in page.text


def test_milliseconds_of_blocks_are_shown_where_the_table_has_them_all(
    make_train_run: Callable[..., TrainRun],
    make_training: MakeTraining,
    make_device: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The device takes 1 ms a block with what is before it, and 0.25 ms for what is before it."""
    monkeypatch.chdir(tmp_path)
    device = make_device()
    without = page_of(make_training(device=device)).table_with("kernel")
    assert "ms" not in without[0]
    assert len(without) == 1 + 4
    run = make_train_run(device=device)
    network, size = run.architecture, len(without[0])

    steps = walk_in_context(network)
    path = Path("tables/fake-fp32-t2-b1.jsonl")
    ensure_table(device, path, steps, {}, run.measure, no_progress, print)
    page = page_of(make_training(device=device))
    header, *rows, total = page.table_with("kernel")
    assert len(header) == size + 3
    column = header.index("ms")
    assert [row[column] for row in rows] == ["1.000", "0.750", "0.750", "0.750"]
    assert total[column] == "3.250"
    assert "by the latency table take 3.250 ms together" in page.text
    # A table of other blocks, of another device, or a damaged one says nothing.
    wider = make_training(device=device, architecture=network.with_resolution(24))
    slower = make_training(device=make_device(runtime="other"))
    untimed = make_training(device=device, timed=False)
    path.write_text("{")
    for other in (wider, slower, untimed, make_training(device=device)):
        assert [row.latency_ms for row in other.blocks] == 4 * [None]


def test_names_are_escaped(make_training: MakeTraining) -> None:
    report = make_training()
    report = replace(report, summary=report.summary | {"name": "<b>x</b>"}, network="</pre><b>")
    page = page_of(report)
    page.check_loads_nothing()
    assert "b" not in page.tags
    assert "<b>x</b>" in page.text
