"""All files of a report are written, the summary last."""

import json
from pathlib import Path

import pytest

from nas.handover import Handover
from nas.run_folder import Folder
from netadapt.journal import State
from netadapt.report import writing
from netadapt.report.writing import write_report
from netadapt.setup import NetAdaptRun
from tests.pages import Page

FILES = (
    "trajectory.csv", "layers.csv", "figures/trajectory.png", "figures/widths.png", "report.html",
    "summary.json",
)  # fmt: skip


def test_all_files_are_written(
    run: NetAdaptRun, start: State, end: State, handover: Handover, folder: Path
) -> None:
    summary = write_report(run, Folder(folder), start, end, handover, 14.4)
    assert all((folder / name).stat().st_size for name in FILES)
    assert json.loads((folder / "summary.json").read_text()) == summary
    # A fifth of the 1797 digits' training part, which is 60 % of them.
    assert summary["data"]["proposal_images"] == 216
    page = Page((folder / "report.html").read_bytes())
    page.check_loads_nothing()
    assert " ".join(end.architecture.to_yaml().split()) in page.text


def test_a_run_whose_report_fails_is_not_finished(
    run: NetAdaptRun,
    start: State,
    end: State,
    handover: Handover,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> bytes:
        raise OSError("no space left on device")

    monkeypatch.setattr(writing, "layers_csv", fail)
    with pytest.raises(OSError, match="no space"):
        write_report(run, Folder(folder), start, end, handover, 14.4)
    assert not (folder / "summary.json").exists()
