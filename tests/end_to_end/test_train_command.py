"""``python -m nas.train``: one network, from random weights to a file; killed; in company."""

import csv
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from nas.training.weights import load_weights, save_weights
from search_spaces import Architecture, build_model
from search_spaces.blocks import Activation, ClassifierHead, ConvNormAct, InvertedResidual, Skip
from tests.pages import Page

Run = Callable[[list[str]], subprocess.CompletedProcess[str]]

TINY = Architecture(
    name="tiny",
    resolution=16,
    blocks=(
        ConvNormAct(out_channels=8, kernel=3, stride=2, activation=Activation.RELU),
        InvertedResidual(
            out_channels=8,
            expanded_channels=16,
            kernel=3,
            stride=1,
            activation=Activation.RELU,
            skip=Skip.IDENTITY,
        ),
        ClassifierHead(num_classes=10, dropout=0.2),
    ),
)
EVERYTHING = (
    "training=modern", "training.learning_rate=0.02", "training.mixup=0.3", "training.threads=1",
    "training.ema_decay=0.99",
)  # fmt: skip


@pytest.fixture
def train_command(tmp_path: Path) -> Callable[..., list[str]]:
    """``train_command("name=a")`` → the arguments of a small training in ``tmp_path``."""
    (tmp_path / "tiny.yaml").write_text(TINY.to_yaml())

    def command(*overrides: str) -> list[str]:
        return [
            sys.executable, "-m", "nas.train", f"arch={tmp_path}/tiny.yaml",
            f"runs={tmp_path}/runs", "name=run", "training.epochs=3", "training.batch_size=64",
            "accelerator=cpu", "timed=false", *overrides,
        ]  # fmt: skip

    return command


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_network_is_trained_tested_exported_and_measured(
    tmp_path: Path, train_command: Callable[..., list[str]], run_command: Run
) -> None:
    timed = ("timed=true", "+target_latency=1s", "training.learning_rate=0.2")
    done = run_command(train_command(*timed))
    assert done.returncode == 0, (done.stdout, done.stderr)
    run = tmp_path / "runs" / "run"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["latency"]["target_ms"], summary["verdict"]) == (1000, "met")
    assert "target 1000.00 ms, measured " in done.stdout
    Page((run / "report.html").read_bytes()).check_loads_nothing()
    assert f"test {summary['accuracy']['test']:.1%} (once, 360 images of digits" in done.stdout
    assert summary["latency"]["measured_ms"] > 0
    assert summary["accuracy"]["test"] > 0.3  # of ten classes
    rows = _rows(run)
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert summary["accuracy"]["validation"] == pytest.approx(max(accuracies), abs=1e-5)
    assert summary["training"]["epoch"] == 1 + accuracies.index(max(accuracies))
    assert Architecture.from_yaml((run / "best.yaml").read_text()) == TINY
    session = ort.InferenceSession(run / "best.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(1, 3, 16, 16)).astype(np.float32)
    model = build_model(TINY)
    model.load_state_dict(load_weights(run / "best.pt"))
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(images)).numpy()
    (logits,) = session.run(None, {session.get_inputs()[0].name: images})
    np.testing.assert_allclose(logits, expected, atol=1e-4)

    again = run_command(train_command(*timed))
    assert again.returncode == 0
    assert "is finished; for another run give another name" in again.stdout

    other = run_command(train_command(*timed[:2], "training.learning_rate=0.1"))
    assert other.returncode == 2
    assert "training.learning_rate=0.2, but now it is 0.1" in other.stderr

    for weights, given, target_ms in (
        ("best.pt", ("arch=null", f"from={run}"), 1000),
        ("checkpoint.pt", (f"weights={run}/checkpoint.pt",), None),
    ):
        more = (f"name={weights}", "training.epochs=1", "training.learning_rate=1e-9")
        begun = run_command(train_command(*given, *more))
        assert begun.returncode == 0, (begun.stdout, begun.stderr)
        found = json.loads((tmp_path / "runs" / weights / "summary.json").read_text())
        assert found["network"]["weights"] == str(run / weights)
        assert (found["latency"]["target_ms"], found["verdict"]) == (target_ms, None)  # not timed
        assert found["accuracy"]["test"] > 0.3  # it goes on with the weights that were found

    leaking = run_command(train_command("arch=null", f"from={run}", "name=leaking", "seed=3"))
    assert (leaking.returncode, len(leaking.stderr.splitlines())) == (2, 1)
    assert "was trained with data.seed=0, but now it is data.seed=3" in leaking.stderr


def _kill_at(step: int, command: list[str], checkpoint: Path, environment: dict[str, str]) -> None:
    """Start a training and kill it when it has kept so many steps, or some more."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while True:
        assert process.poll() is None, process.stdout.read()  # type: ignore[union-attr]
        assert time.monotonic() < deadline
        if checkpoint.exists():
            kept: dict[str, Any] = torch.load(checkpoint, weights_only=True)
            if kept["state"]["step"] >= step:
                break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_at_a_random_step_it_ends_with_the_same_weights(
    tmp_path: Path,
    train_command: Callable[..., list[str]],
    run_command: Run,
    environment: dict[str, str],
) -> None:
    settings = (*EVERYTHING, "training.epochs=12", "checkpoint_s=0")
    whole = run_command(train_command(*settings, "name=whole", "checkpoint_s=60"))
    assert whole.returncode == 0, (whole.stdout, whole.stderr)
    command, run = train_command(*settings, "name=killed"), tmp_path / "runs" / "killed"
    step = random.randrange(1, 12 * 16)  # of 12 · 16
    _kill_at(step, command, run / "checkpoint.pt", environment)
    assert not (run / "best.pt").exists()
    kept = torch.load(run / "checkpoint.pt", weights_only=True)["state"]["step"]
    done = run_command(command)
    assert done.returncode == 0, (step, kept, done.stdout, done.stderr)
    expected = load_weights(tmp_path / "runs" / "whole" / "best.pt")
    found = load_weights(run / "best.pt")
    for name, value in expected.items():
        assert torch.equal(value, found[name]), (name, step, kept)
    columns = ("step", "epoch", "learning_rate", "validation_accuracy")
    logs = [
        [[row[c] for c in columns] for row in _rows(each)] for each in (run, run.parent / "whole")
    ]
    assert logs[0] == logs[1]
    accuracies = [
        json.loads((run.parent / name / "summary.json").read_text())["accuracy"]
        for name in ("whole", "killed")
    ]
    assert accuracies[0] == accuracies[1]


def test_an_interrupt_ends_it_cleanly(
    tmp_path: Path, train_command: Callable[..., list[str]], environment: dict[str, str]
) -> None:
    process = subprocess.Popen(
        train_command("training.epochs=100000", "checkpoint_s=0"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "runs/run/checkpoint.pt").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "stopped; the same command goes on where it was\n"


@pytest.mark.parametrize("launcher", ["fabric", "torchrun"])
def test_two_processes_train_together(
    launcher: str, tmp_path: Path, train_command: Callable[..., list[str]], run_command: Run
) -> None:
    command = train_command("devices=2", "training.epochs=2", "training.threads=1")
    if launcher == "torchrun":
        torchrun = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
        ]
        command = [*torchrun, "--nproc-per-node=2", *command[1:]]
    done = run_command(command)
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count("summary.json") == 1
    summary = json.loads((tmp_path / "runs/run/summary.json").read_text())
    assert summary["accuracy"]["tests"] == 1
    assert [row["step"] for row in _rows(tmp_path / "runs/run")] == ["16", "32"]


def test_tensorboard_has_the_numbers_of_the_log(
    tmp_path: Path, train_command: Callable[..., list[str]], run_command: Run
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = run_command(train_command("tensorboard=true", "training.epochs=2"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    run = tmp_path / "runs" / "run"
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    for name, column in (("training/loss", "loss"), ("validation/accuracy", "validation_accuracy")):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(int(row["step"]), float(row[column])) for row in _rows(run)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([v for _, v in expected], rel=1e-4)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arch=resnet50"], "arch must be a file.yaml, the folder of a finished run, or one of"),
        (["weights=none.pt"], "the weights none.pt cannot be read: No such file"),
        (["~device"], "device is missing; give device=… with one of "),
        (["device=offline"], "device: table must be the file that the device's latencies"),
        (["training=huge"], "Could not find 'training/huge'"),
    ],
)
def test_bad_input_is_one_line(
    overrides: list[str],
    message: str,
    tmp_path: Path,
    train_command: Callable[..., list[str]],
    run_command: Run,
) -> None:
    done = run_command(train_command(*overrides))
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs" / "run").exists()


def test_what_diverges_names_the_last_finite_state(
    tmp_path: Path, train_command: Callable[..., list[str]], run_command: Run
) -> None:
    wild = ("training.learning_rate=1000", "training.weight_decay=1", "training.epochs=200")
    done = run_command(train_command(*wild, "checkpoint_s=0"))
    assert done.returncode == 2, (done.stdout, done.stderr)
    kept = tmp_path / "runs/run/checkpoint.pt"
    assert "lower the learning rate (it is 1000" in done.stderr
    assert f"to go on from the last finite state give weights={kept}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert all(bool(torch.isfinite(value).all()) for value in load_weights(kept).values())


def test_without_a_compiler_one_line_says_what_to_do(
    tmp_path: Path,
    train_command: Callable[..., list[str]],
    run_command: Run,
    environment: dict[str, str],
) -> None:
    environment |= {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = run_command(train_command("++training.compile=true", "training.epochs=1"))
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert done.stderr.startswith("error: torch cannot compile the network here (")
    assert "give ++training.compile=false" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = run_command(train_command("++training.compile=false", "training.epochs=1"))
    assert done.returncode == 0, (done.stdout, done.stderr)


def test_weights_of_other_classes_begin_with_a_new_classifier(
    tmp_path: Path, train_command: Callable[..., list[str]], run_command: Run
) -> None:
    save_weights(tmp_path / "given.pt", build_model(TINY, num_classes=4).state_dict())
    done = run_command(train_command(f"weights={tmp_path}/given.pt", "training.epochs=1"))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert "its classifier of 4 classes is left out" in done.stdout
