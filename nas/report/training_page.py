"""The page of a training."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.report import blocks_drawing
from nas.report.network import total_ms
from nas.report.page import kernel_keys, page_templates
from nas.report.summary import processor_name
from nas.report.text import NONE
from nas.report.training_contents import TrainingReport
from nas.report.training_drawings import draw_accuracy, draw_loss, draw_rate, explore_epochs
from nas.run_folder import flat
from nas.training.settings import shown

_TEMPLATES = page_templates(Path(__file__).parent)
Rows = list[tuple[str, str]]


def render_page(report: TrainingReport) -> bytes:
    """The report of a training, in the order in which a person asks."""
    summary, log = report.summary, report.log
    device, kept = summary["environment"]["device"], summary["training"]["epoch"]
    page = _TEMPLATES.get_template("training.html.j2").render(
        run=summary,
        report=report,
        total_ms=total_ms(report.blocks),
        channels=blocks_drawing.widest(report.blocks),
        kernels=kernel_keys(report.blocks),
        curves=[draw(log, kept) for draw in (draw_accuracy, draw_loss, draw_rate)] if log else [],
        explorer=explore_epochs(log, kept),
        recipe=recipe_rows(summary),
        data_rows=data_rows(summary["data"]),
        processor=None if device is None else processor_name(device),
    )
    return page.encode()


def recipe_rows(summary: Mapping[str, Any]) -> Rows:
    """Every setting of the training, and its value as the command line takes it."""
    settings = {name: v for name, v in summary["training"].items() if name != "epoch"}
    outside = {name: settings.pop(name) for name in ("seed", "keep")}
    start = {"weights": summary["network"]["weights"] or "random", **outside}
    return [(name, _setting(value)) for name, value in (start | flat(settings)).items()]


def _setting(value: Any) -> str:
    if value is None:
        return NONE
    return str(value).lower() if isinstance(value, bool) else shown(value)


def data_rows(data: Mapping[str, Any]) -> Rows:
    """What the network was trained on, and how its images were prepared."""
    size = f"{data['resolution']}×{data['resolution']}"
    rows = [("data", data["name"]), ("classes", str(len(data["classes"])))]
    rows += [(f"{part} images", str(data[f"{part}_images"])) for part in _PARTS]
    rows.append(("pixels", size))
    for name, value in data["preprocessing"].items():
        values = value if isinstance(value, list) else [value]
        rows.append((name, ", ".join(f"{each:.4g}" for each in values)))
    return rows + [("note", note) for note in data["notes"]]


_PARTS = ("train", "validation", "test")
