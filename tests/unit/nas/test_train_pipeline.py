"""A training from its start to its page, on a device without a clock."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from latency.console import Terminal
from nas.train_pipeline import run_training
from nas.train_setup import TrainRun
from nas.training.learner import Learner
from nas.training.meter import DivergenceError
from nas.training.peer_weights import TIMM_NORM_EPSILON
from nas.training.released import WeightsSource
from nas.training.weights import save_weights
from search_spaces import Architecture, build_model
from search_spaces.blocks import ClassifierHead, ConvNormAct
from tests.pages import Page


def test_a_run_has_a_page_a_summary_and_a_verdict_and_the_page_can_be_drawn_again(
    make_train_run: Callable[..., TrainRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_train_run(target_ms=2.0)
    summary = run_training(run, Terminal(), is_first=True)
    said = capsys.readouterr().out
    # The median of the device is 2 % more than its 2 ms.
    assert summary["verdict"] == "missed"
    assert "target 2.00 ms, measured 2.04 ms: MISSED" in said
    assert "data: 1 of 71 images cannot be read and is skipped: <a>.png" in said
    page = run.folder / "report.html"
    drawn = page.read_bytes()
    Page(drawn).check_loads_nothing()
    assert len(Page(drawn).data("epochs")) == 3
    assert json.loads((run.folder / "summary.json").read_text()) == summary

    made = page.stat().st_mtime_ns
    run_training(run, Terminal(), is_first=True)
    assert page.stat().st_mtime_ns == made

    # Another target is no other training.
    weights = run.folder / "best.pt"
    trained = weights.stat().st_mtime_ns
    other = run_training(replace(run, target_ms=2.1), Terminal(), is_first=True)
    assert (other["verdict"], other["accuracy"]) == ("met", summary["accuracy"])
    assert "✓ met" in Page(page.read_bytes()).text
    assert weights.stat().st_mtime_ns == trained
    assert run_training(run, Terminal(), is_first=True) == summary
    assert page.read_bytes() == drawn

    page.unlink()
    again: dict[str, Any] = run_training(run, Terminal(), is_first=True)
    assert again == summary
    assert page.read_bytes() == drawn


def test_what_a_person_should_know_is_said_first(
    make_train_run: Callable[..., TrainRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run_training(make_train_run(notes=("no target",)), Terminal(), is_first=True)
    assert capsys.readouterr().out.startswith("no target\ndata: 1 of 71 images")


def test_a_run_of_a_version_without_verdicts_gets_one(
    make_train_run: Callable[..., TrainRun],
) -> None:
    run = make_train_run(target_ms=2.0)
    summary = run_training(run, Terminal(quiet=True), is_first=True)
    (run.folder / "report.html").unlink()
    (run.folder / "summary.json").write_text(json.dumps({"name": run.name, "latency": None}))
    assert run_training(run, Terminal(quiet=True), is_first=True) == summary
    assert (run.folder / "report.html").exists()


def test_without_a_clock_the_device_is_not_asked(
    make_train_run: Callable[..., TrainRun], make_device: Callable[..., Any]
) -> None:
    device = make_device()
    device.describe = None  # type: ignore[method-assign]
    summary = run_training(
        make_train_run(target_ms=2.0, timed=False, device=device),
        Terminal(quiet=True),
        is_first=True,
    )
    assert (summary["verdict"], summary["latency"]["target_ms"]) == (None, 2.0)
    assert device.asked == []
    timed = run_training(make_train_run(target_ms=2.0), Terminal(quiet=True), is_first=True)
    assert (timed["verdict"], timed["accuracy"]) == ("missed", summary["accuracy"])


def test_the_network_of_what_diverges_is_kept_with_what_its_weights_changed(
    make_train_run: Callable[..., TrainRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint's weights are of that network, and not of the one that was given."""
    blocks = (ConvNormAct(out_channels=8, kernel=3, stride=2), ClassifierHead(num_classes=10))
    network = Architecture(name="tiny", blocks=blocks, resolution=16, norm_epsilon=1e-3)
    names = {"blocks.0.unit.conv": "conv_stem", "blocks.0.unit.norm": "bn1"}
    timms = {
        f"{names.get(layer, 'classifier')}.{part}": value
        for name, value in build_model(network).state_dict().items()
        for layer, _, part in (name.rpartition("."),)
    }
    given = WeightsSource(path=save_weights(tmp_path / "timm.pt", timms))
    monkeypatch.setattr(Learner, "loss_of", lambda *_: torch.tensor(float("nan")))
    run = make_train_run(architecture=network, weights=given)
    with pytest.raises(DivergenceError):
        run_training(run, Terminal(quiet=True), is_first=True)
    kept = Architecture.from_yaml(run.folder / "best.yaml")
    assert (network.norm_epsilon, kept.norm_epsilon) == (1e-3, TIMM_NORM_EPSILON)
    assert not (run.folder / "best.pt").exists()
