"""``python -m netadapt.run``: a small network, shaved; killed and started again; bad input."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from nas.training.weights import save_weights
from search_spaces import Architecture, build_model, load_seed


@pytest.fixture
def netadapt_command(tmp_path: Path):
    """``netadapt_command("steps=2")`` → the arguments of a small run in ``tmp_path``."""

    def command(*overrides: str) -> list[str]:
        # A process of its own would import all again.
        executor = [] if any(o.startswith("executor=") for o in overrides) else ["executor=threads"]
        return [
            sys.executable, "-m", "netadapt.run", "seed=mobilenet_v3_small", "name=run",
            "resolution=32", "target_latency=93%", "delta=0.02", "divisor=16", "steps=1",
            "kinds=[expansion]", "pretrain.epochs=1", "final.epochs=1",
            f"runs={tmp_path}/runs", f"table={tmp_path}/table.jsonl", *executor, *overrides,
        ]  # fmt: skip

    return command


def test_a_killed_run_goes_on_at_the_proposal_where_it_was(
    tmp_path: Path, netadapt_command, run_command, environment: dict[str, str]
) -> None:
    run = tmp_path / "runs" / "run"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            netadapt_command("executor=local"),
            env=environment,
            stdout=log,
            stderr=log,
            cwd=tmp_path,
        )
        deadline = time.monotonic() + 240
        while len(list(run.glob("steps/*/[0-9]*.json"))) < 3:
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in run.glob("steps/*/[0-9]*.json")}

    done = run_command(netadapt_command("executor=local"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    summary = json.loads((run / "summary.json").read_text())
    assert summary["latency"]["target_ms"] == pytest.approx(0.93 * summary["latency"]["seed_ms"])
    best = Architecture.from_yaml((run / "best.yaml").read_text())
    assert summary["network"]["best"]["madds"] < summary["network"]["seed"]["madds"]
    session = ort.InferenceSession(run / "best.onnx", providers=["CPUExecutionProvider"])
    shape = (1, best.image_channels, 32, 32)
    images = np.zeros(shape, dtype=np.float32)
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    assert logits.shape == (1, 10)
    rows = (run / "trajectory.csv").read_text().splitlines()
    assert len(rows) == 2 + len(summary["steps"])
    for name in ("figures/trajectory.png", "figures/widths.png", "report.html"):
        assert (run / name).stat().st_size
    layers = list(csv.DictReader((run / "layers.csv").read_text().splitlines()))
    assert len(layers) == len(best.blocks)
    assert any(layer["inside_before"] != layer["inside_after"] for layer in layers)
    assert all(layer["predicted_after_ms"] for layer in layers)

    again = run_command(netadapt_command())
    assert again.returncode == 0
    assert "files      " in again.stdout
    assert "step 1:" not in again.stdout

    longer = run_command(netadapt_command("final.epochs=2"))
    assert longer.returncode == 0, (longer.stdout, longer.stderr)
    assert "step 1:" not in longer.stdout
    summary = json.loads((run / "summary.json").read_text())
    assert summary["final"]["epochs"] == "2"
    assert summary["accuracy"]["tests"] == _handovers(done.stdout) + _handovers(longer.stdout)


def _handovers(printed: str) -> int:
    """How many networks were trained and tested: more than one where the clock said so."""
    return 1 + printed.count("shaving goes on") - printed.count("target_latency cannot be reached")


def test_a_table_of_another_device_is_refused(
    tmp_path: Path, netadapt_command, run_command
) -> None:
    table = tmp_path / "table.jsonl"
    header = {"format": "chronas-latency-table", "version": 3, "device": {"cpu": "another"}}
    table.write_text(json.dumps(header) + "\n")
    done = run_command(netadapt_command())
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "device is {'cpu': 'another'} there and" in done.stderr
    assert "Traceback" not in done.stderr
    assert table.read_text() == json.dumps(header) + "\n"


def test_proposals_that_take_too_long_are_left_out_with_the_reason(
    tmp_path: Path, netadapt_command, run_command
) -> None:
    done = run_command(
        netadapt_command("executor=local", "executor.time_limit_s=0.01", "executor.retries=1")
    )
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert re.search(r"none of the \d+ proposals of step 1 could be fine-tuned", done.stderr)
    assert "is fine-tuned again: " in done.stdout
    answers = list(tmp_path.glob("runs/run/steps/001/[0-9]*.json"))
    assert answers
    for answer in answers:
        assert "0.01" in json.loads(answer.read_text())["infeasible"]


def test_proposals_on_ray(tmp_path: Path, netadapt_command, run_command) -> None:
    pytest.importorskip("ray", reason="needs ray: pip install chronas[ray]")
    done = run_command(netadapt_command("executor=ray", "target_latency=97%"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert json.loads((tmp_path / "runs/run/summary.json").read_text())["steps"]


def test_a_search_and_its_second_stage(tmp_path: Path, search_command, run_command) -> None:
    common = ("resolution=224", "headroom=1.2")
    done = run_command(search_command(*common, "netadapt=true"))
    # All networks of the space take less than the target.
    assert done.returncode == 2
    assert "target_latency=50ms is met by the seed" in done.stderr
    searched = json.loads((tmp_path / "runs/run/summary.json").read_text())
    assert searched["latency"]["target_ms"] == 60
    stage = "netadapt={steps:1,divisor:4,target_latency:95%}"
    done = run_command(search_command(*common, stage))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "is finished" in done.stdout
    summary = json.loads((tmp_path / "runs/netadapt_run/summary.json").read_text())
    assert summary["resolution"] == 224
    assert summary["steps"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("delta=-0.01", ("delta must be a number in 1e-06..0.5", "-0.01")),
        ("seed=mnasnet_a9", ("seed must be a file.yaml or one of", "'mnasnet_a9'")),
        ("kinds=[width]", ("kinds must be among expansion, bottleneck", "'width'")),
        ("keep=all", ("keep must be among largest_norm, first", "'all'")),
        ("target_latency=120%", ("below 100%", "'120%'")),
        ("target_latency=10s", ("target_latency=10s is met by the seed", "give a lower one")),
        ("target_latency=1%", ("target_latency=1% cannot be reached", "as small as these kinds")),
        ("from=runs/none", ("from=runs/none holds no best.yaml",)),
        ("weights=none.pt", ("none.pt cannot be read",)),
        ("weights=tim:a.pt", ("weights must be FILE or one of ours:FILE", "'tim:a.pt'")),
    ],
)
def test_bad_input_is_answered_in_one_line(
    tmp_path: Path, netadapt_command, run_command, override: str, words: tuple[str, ...]
) -> None:
    done = run_command(netadapt_command(override))
    assert done.returncode == 2, (done.stdout, done.stderr)
    errors = done.stderr.strip()
    assert errors.startswith("error: ")
    assert "\n" not in errors
    for word in words:
        assert word in errors, errors
    assert not (tmp_path / "runs" / "run").exists()


def test_weights_of_another_network_are_refused_before_anything_is_measured(
    tmp_path: Path, netadapt_command, run_command
) -> None:
    other = build_model(load_seed("mobilenet_v3_small_paper"))
    path = save_weights(tmp_path / "other.pt", other.state_dict())
    done = run_command(netadapt_command(f"weights={path}"))
    assert done.returncode == 2, (done.stdout, done.stderr)
    errors = done.stderr.strip()
    assert errors.startswith(
        f"error: weights={path} are those of another network than mobilenet_v3_small: "
    )
    assert "\n" not in errors
    assert not (tmp_path / "table.jsonl").exists()
    assert not (tmp_path / "runs" / "run").exists()
