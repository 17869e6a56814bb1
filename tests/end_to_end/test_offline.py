"""``device=offline``: somebody reads what the command says, goes to the device, and comes back."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from latency.console import Terminal
from latency.devices import NotMeasuredYet
from latency.plan import no_progress
from nas.exporting.metadata import graph_digest
from netadapt.pipeline import run_netadapt
from netadapt.setup import build_run
from search_spaces import Architecture
from search_spaces.blocks import ClassifierHead, ConvNormAct, InvertedResidual

ROOT = Path(__file__).parents[2]
LINE = re.compile(
    r"error: .* lacks .*: copy (?P<files>.*) and latency/profile\.py to the device, run "
    r"(?P<commands>.*) there, copy (?P<back>.*), and give the same command again, .*\n"
)


@pytest.fixture
def go_there(tmp_path: Path) -> Callable[[str], list[str]]:
    """``go_there(line)``: does what the line says; returns the names of the tables."""
    device = tmp_path / "device"
    device.mkdir()
    shutil.copy(ROOT / "latency" / "profile.py", device)

    def go(line: str) -> list[str]:
        said = LINE.fullmatch(line)
        assert said is not None, line
        for file in re.split(", | and ", said["files"]):
            shutil.copy(file, device)
        for command in re.findall("`python (.*?)`", said["commands"]):
            subprocess.run([sys.executable, *command.split()], cwd=device, check=True, timeout=120)
        tables = re.findall(r"(\S+) back to (\S+?)(?:,| and|$)", said["back"])
        for name, path in tables:
            shutil.copy(device / name, path)
        return [name for name, _ in tables]

    return go


def test_a_search_asks_three_times_and_goes_on_where_it_was(
    tmp_path: Path, search_command: Any, run_command: Any, go_there: Callable[[str], list[str]]
) -> None:
    """For the table, the finalists of both targets, and both winners' files."""
    command = [word for word in search_command("trials=2") if not word.startswith("+target")]
    command += ["+target_latency=[40ms,50ms]", "device=offline", "executor=threads"]
    command += ["measure.runs=3", "measure.min_rounds=1", "measure.max_rounds=1"]
    asked = []
    while (done := run_command(command)).returncode == 2:
        asked.append(go_there(done.stderr))
        assert len(asked) <= 3
    assert done.returncode == 0, done.stderr
    assert asked[:2] == [["table.jsonl"], ["finalists_40ms.jsonl", "finalists_50ms.jsonl"]]
    assert "2 of 2 trials are finished" in done.stdout
    for target, measured in zip((40, 50), asked[2], strict=True):
        folder = tmp_path / "runs" / "run" / f"{target}ms"
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["verdict"] == "met"
        assert summary["accuracy"]["tests"] == 1
        lines = (folder / measured).read_text().splitlines()[1:]
        digest = graph_digest((folder / "best.onnx").read_bytes())[:12]
        assert {json.loads(line)["key"] for line in lines} == {f"best.onnx {digest}"}


def test_a_table_of_another_device_is_refused_in_one_line(
    tmp_path: Path, search_command: Any, run_command: Any, make_header: Callable[..., Any]
) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text(json.dumps(make_header(reference="another")) + "\n")
    done = run_command(search_command("device=offline"))
    assert done.returncode == 2
    assert "beside another reference network" in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["table.jsonl"]


def _cost_ms(entry: dict[str, Any]) -> float:
    """Of a device on which only weights cost anything."""
    return 1.0 + 1e-4 * float(entry.get("weights_bytes", 0))


def test_netadapt_asks_for_the_seed_with_the_table_and_then_once_a_step(
    tmp_path: Path, make_device: Callable[..., Any]
) -> None:
    seed = Architecture(
        name="small",
        blocks=(
            ConvNormAct(out_channels=16, kernel=3, stride=2),
            InvertedResidual(expanded_channels=64, out_channels=16, kernel=3),
            ClassifierHead(num_classes=10),
        ),
        resolution=32,
    )
    (tmp_path / "seed.yaml").write_text(seed.to_yaml())
    with initialize_config_dir(config_dir=str(ROOT / "conf"), version_base=None):
        config = compose(
            "netadapt",
            [
                "device=offline", f"table={tmp_path}/table.jsonl", f"runs={tmp_path}/runs",
                "name=run", f"seed={tmp_path}/seed.yaml", "target_latency=80%", "delta=0.05",
                "divisor=4", "steps=1", "resolution=32", "proxy_resolution=16",
                "pretrain.epochs=1", "final.epochs=1", "final.threads=1", "executor=threads",
            ],
        )  # fmt: skip
    device, asked = make_device(_cost_ms), list[list[str]]()
    while len(asked) < 12:
        try:
            summary = run_netadapt(build_run(config, command="the command"), Terminal())
            break
        except NotMeasuredYet as waiting:
            asked.append([re.split("[_.]", errand.table.name)[0] for errand in waiting.errands])
            for errand in waiting.errands:
                device.measure(errand.plan, errand.table, no_progress)
    assert asked[0] == ["clock", "table"]
    assert asked[-1] == ["measured"]
    steps = asked[1:-1]
    assert len(steps) == len(summary["steps"]) > 1
    # A narrower layer changes its neighbours: what the next step needs is asked for as well.
    assert steps[0] == ["clock", "table"]
    assert all(names[0] == "clock" for names in steps)
    assert summary["verdict"] == "met"
