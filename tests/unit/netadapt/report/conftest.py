"""A run of three steps whose files and figures were written by hand.

Of the seed's seven blocks, the steps narrow two, leave out block 3 and then block 4, which is
called block 3 by then, take block 5's gate away and make its kernel smaller.
"""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from latency.plan import MeasureSettings
from latency.side_by_side import SideBySide
from latency.table import Entry
from nas.handover import Handover
from nas.training import TrainSettings
from netadapt.changes import ProposalKind
from netadapt.journal import Ended, State, StepFolder
from netadapt.proposals import Proposal
from netadapt.report.layers import LayerChange, compare_layers
from netadapt.report.steps import origins, read_steps
from netadapt.report.summary import summarise
from netadapt.setup import NetAdaptRun
from netadapt.tuning import Tuning
from netadapt.weight_transfer import Keep
from search_spaces import Architecture
from search_spaces.blocks import (
    Activation,
    ClassifierHead,
    ConvNormAct,
    DepthwiseSeparable,
    InvertedResidual,
    Skip,
    SqueezeExcite,
)

SEED = Architecture(
    name="seed",
    resolution=32,
    blocks=(
        ConvNormAct(out_channels=16, kernel=3, stride=2),
        DepthwiseSeparable(out_channels=24, kernel=3),
        InvertedResidual(expanded_channels=72, out_channels=40, kernel=3, stride=2),
        InvertedResidual(
            expanded_channels=80, out_channels=40, kernel=3, skip=Skip.IDENTITY
        ),
        InvertedResidual(
            expanded_channels=88, out_channels=40, kernel=3, skip=Skip.IDENTITY
        ),
        InvertedResidual(
            expanded_channels=96,
            out_channels=40,
            kernel=5,
            squeeze_excite=SqueezeExcite(channels=24, gate=Activation.HARD_SIGMOID),
            skip=Skip.IDENTITY,
        ),
        ClassifierHead(num_classes=10, hidden_channels=128),
    ),
)  # fmt: skip
STEM, SEPARABLE, FIRST, _, _, GATED, HEAD = SEED.blocks
NARROWED = replace(FIRST, expanded_channels=48)
BARE = replace(GATED, squeeze_excite=None, kernel=3)
NETWORKS = tuple(
    replace(SEED, blocks=blocks)
    for blocks in (
        (STEM, SEPARABLE, FIRST, *SEED.blocks[4:]),
        (STEM, SEPARABLE, NARROWED, GATED, HEAD),
        (STEM, SEPARABLE, NARROWED, BARE, replace(HEAD, hidden_channels=64)),
    )
)
SOURCES = (0, 1, 2, 4, 5, 6), (0, 1, 2, 4, 5), (0, 1, 2, 3, 4)
CHANGES = "blocks.3: left out", "blocks.3: left out <b>", "blocks.4.hidden_channels: 128 → 64"
ACCURACIES, PREDICTED_MS, MEASURED_MS = (0.875, 0.75, 0.8125), (9.0, 8.0, 7.0), (9.9, 7.6, 7.14)
SAVED_MS = (1.0, 0.75, 1.25)
INFEASIBLE = {1: (), 2: (0, 2), 3: (1,)}
"""Step → which of its three proposals; the last feasible one is chosen."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with the files of all steps."""
    for number in (1, 2, 3):
        files = StepFolder(tmp_path, number)
        chosen = max({0, 1, 2}.difference(INFEASIBLE[number]))
        files.propose([_proposal(number, position == chosen) for position in range(3)])
        for position in range(3):
            if position in INFEASIBLE[number]:
                files.set_infeasible(position, "the loss is nan")
            else:
                files.write_json(files.answer(position).name, {"accuracy": 0.5})
        state = State(
            architecture=NETWORKS[number - 1],
            weights=files.answer(chosen).with_suffix(".pt"),
            accuracy=ACCURACIES[number - 1],
            predicted_ms=PREDICTED_MS[number - 1],
            measured_ms=MEASURED_MS[number - 1],
            interval=0.004,
        )
        files.end(Ended(change=CHANGES[number - 1], saved_ms=SAVED_MS[number - 1], state=state), 3)
    return tmp_path


def _proposal(number: int, is_chosen: bool) -> Proposal:
    """The one that is chosen, or one that leaves every block where it was."""
    before = (SEED, *NETWORKS)[number - 1]
    return Proposal(
        kind=ProposalKind.DEPTH,
        change=CHANGES[number - 1],
        architecture=NETWORKS[number - 1] if is_chosen else before,
        sources=SOURCES[number - 1] if is_chosen else tuple(range(len(before.blocks))),
        latency_ms=1.0,
        saved_ms=1.0,
    )


@pytest.fixture
def run(tmp_path: Path) -> NetAdaptRun:
    """Of a run, what its report is made of; its table has gone."""
    device = {
        "device": {"system": "Linux", "cpu": "a <fast> CPU", "cores": 2, "governor": None},
        "runtime": "onnxruntime",
        "runtime_version": "1.22.0",
        "provider": "CPUExecutionProvider",
    }
    settings = SimpleNamespace(
        name="<b>shaved</b>",
        proxy_resolution=24,
        measure=MeasureSettings(threads=2),
        final=TrainSettings(epochs=2),
        table=tmp_path / "gone.jsonl",
    )
    digits = '{"_target_": "nas.data.digits.digits_data", "seed": 0, "validation_share": 0.2, '
    return SimpleNamespace(  # type: ignore[return-value]
        settings=settings,
        data=SimpleNamespace(name="digits", validation=range(148), test=range(263)),
        tuning=Tuning(
            data=digits + '"test_share": 0.2}',
            share=0.2,
            steps=1,
            train=TrainSettings(epochs=1),
            resolution=24,
            keep=Keep.FIRST,
            seed=0,
        ),
        device=SimpleNamespace(describe=lambda: device),
        command="python -m netadapt.run 'seed=<b>'",
    )


@pytest.fixture
def start() -> State:
    return State(
        architecture=SEED,
        weights=Path("seed.pt"),
        accuracy=0.9375,
        predicted_ms=10.5,
        measured_ms=10.5,
    )


@pytest.fixture
def end() -> State:
    return State(
        architecture=NETWORKS[-1],
        weights=Path("003/002.pt"),
        accuracy=ACCURACIES[-1],
        predicted_ms=PREDICTED_MS[-1],
        measured_ms=MEASURED_MS[-1],
    )


@pytest.fixture
def handover() -> Handover:
    """``best.onnx`` takes 14.7 ms where the seed, on a machine half as fast now, takes 21 ms."""
    best, seed = (
        Entry(
            key="best.onnx", latency_ms=ms - 0.5, median_ms=ms, interval=0.012, rounds=8, runs=96,
            drift=1.0, reference_ms=1.0,
        )
        for ms in (14.7, 21.0)
    )  # fmt: skip
    return Handover(
        validation_accuracy=15 / 148,
        test_accuracy=81 / 263,
        tests=1,
        logit_difference=2e-6,
        measured=best,
        beside=SideBySide(first=best, second=seed, ratio=0.7, interval=0.01),
    )


@pytest.fixture
def summary(
    run: NetAdaptRun, start: State, end: State, handover: Handover, folder: Path
) -> dict[str, Any]:
    """To a target of 14.4 ms, which is missed; 16 images were kept for proposals."""
    steps = read_steps(folder)
    return summarise(run, start, end, handover, steps, target_ms=14.4, proposal_images=16)


@pytest.fixture
def layers(folder: Path) -> list[LayerChange]:
    return compare_layers(SEED, NETWORKS[-1], origins(read_steps(folder), 7), None)
