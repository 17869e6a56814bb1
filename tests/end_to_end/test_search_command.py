"""The main command, from nothing to the files it hands over, and again."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
import torch
import yaml

from nas.data.digits import digits_data
from nas.training import evaluate
from search_spaces import Architecture, build_model
from tests.pages import Page

FILES = {
    "best.onnx", "best.pt", "best.yaml", "config.yaml", "figures/pareto.png", "report.html",
    "study.db", "summary.json", "trials.csv",
}  # fmt: skip


def test_search_hands_over_a_network_and_goes_on_when_run_again(
    tmp_path: Path, search_command, run_command
) -> None:
    first = run_command(search_command())
    assert first.returncode == 0, first.stderr
    assert "MET" in first.stdout
    assert "[3/3]" in first.stdout
    folder = tmp_path / "runs" / "run"
    for name in FILES:
        assert (folder / name).stat().st_size > 0, name
    trials = pd.read_csv(folder / "trials.csv")
    assert len(trials) == 3
    assert trials.loc[0, "stage1.expansion"] == 3  # the base network comes first
    _check_summary(folder, trials)
    _check_network(folder)
    _check_pages(folder, run_command)

    made = (folder / "best.onnx").stat().st_mtime_ns
    again = run_command(search_command())
    assert again.returncode == 0
    assert "is finished" in again.stdout
    assert "[1/3]" not in again.stdout
    assert (folder / "best.onnx").stat().st_mtime_ns == made

    before = json.loads((folder / "summary.json").read_text())
    more = run_command(search_command("trials=4"))
    assert more.returncode == 0, more.stderr
    assert "resuming" in more.stdout
    assert "3 of 4 trials are finished" in more.stdout
    longer = pd.read_csv(folder / "trials.csv")
    assert len(longer) == 4
    figures = ["number", "reward", "accuracy", "latency_ms"]
    pd.testing.assert_frame_equal(longer.loc[:2, figures], trials[figures])

    # The test part is looked at again only where another network is trained.
    now = json.loads((folder / "summary.json").read_text())
    tests = now["accuracy"]["tests"]
    assert tests == len({summary["search"]["winner"] for summary in (before, now)})
    longer_final = run_command(search_command("trials=4", "final.epochs=2"))
    assert longer_final.returncode == 0, longer_final.stderr
    assert f"looked at {tests + 1} times in this run" in longer_final.stdout

    other = run_command(search_command("trials=4", "seed=5"))
    assert other.returncode == 2
    assert "seed=0, but now it is 5" in other.stderr


def _check_pages(folder: Path, run_command) -> None:
    report = Page((folder / "report.html").read_bytes())
    report.check_loads_nothing()
    assert len(report.data("trials")) == 3
    copy, page = folder.with_name("copy"), folder.parent / "comparison.html"
    shutil.copytree(folder, copy)
    command = [sys.executable, "-m", "nas.compare"]
    compared = run_command([*command, str(folder), str(copy), "--out", str(page)])
    assert compared.returncode == 0, compared.stderr
    assert "warning" not in compared.stdout
    assert f"{page}: 2 runs on one page" in compared.stdout
    Page(page.read_bytes()).check_loads_nothing()
    alone = run_command([*command, str(folder)])
    assert alone.returncode == 2
    assert alone.stderr == (
        "nas.compare: error: two runs or more can be compared, but 1 is given\n"
    )


def _check_summary(folder: Path, trials: pd.DataFrame) -> None:
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["verdict"] == "met"
    assert summary["latency"]["target_ms"] == 50
    assert 0 < summary["latency"]["measured_ms"] <= 50
    low, high = summary["latency"]["reachable_ms"]
    assert low <= trials["latency_ms"].min() <= trials["latency_ms"].max() <= high
    winner = trials[trials["number"] == summary["search"]["winner"]].iloc[0]
    assert winner["reward"] == trials["reward"].max()
    assert winner["latency_ms"] == summary["latency"]["predicted_ms"]
    assert summary["network"]["logit_difference"] <= 1e-4
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["target_latency"] == "50ms"
    assert config["space"]["_target_"] == "tiny_space.tiny_space"


def _check_network(folder: Path) -> None:
    """``best.yaml``, ``best.pt`` and ``best.onnx`` are one network, with the accuracy reported."""
    summary = json.loads((folder / "summary.json").read_text())
    architecture = Architecture.from_yaml(folder / "best.yaml")
    model = build_model(architecture)
    model.load_state_dict(torch.load(folder / "best.pt", weights_only=True))
    data = digits_data(seed=0)
    accuracy = evaluate(
        model, data.test, resolution=32, batch_size=64, on_step=lambda done, total: None
    )
    assert accuracy == summary["accuracy"]["test"]
    session = ort.InferenceSession(folder / "best.onnx", providers=["CPUExecutionProvider"])
    images, _ = next(data.test.batches(1, 32))
    logits = session.run(None, {"input": images.contiguous().numpy()})[0]
    with torch.inference_mode():
        expected = model.eval()(images).numpy()
    assert np.abs(logits - expected).max() <= 1e-4


def test_a_sweep_over_targets_makes_a_run_folder_each(
    tmp_path: Path, search_command, run_command
) -> None:
    command = [a for a in search_command("trials=1") if not a.startswith(("+target", "name="))]
    command.insert(command.index("nas.search") + 1, "-m")
    done = run_command([*command, "+target_latency=40ms,1us,50ms"])
    assert done.returncode == 2
    assert "target_latency=0.001ms cannot be met" in done.stderr
    for target in (40, 50):  # the impossible one between them stops neither
        summary = json.loads((tmp_path / f"runs/tiny_{target}ms/summary.json").read_text())
        assert summary["latency"]["target_ms"] == target
