"""What every test shares: one thread, repeatable randomness, a small space, torchvision mended."""

import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from latency.keys import OVERHEAD_KEY, block_key
from latency.table import Entry, LatencyTable
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual, Skip
from search_spaces.spaces import Choices, SearchSpace, Stage

# The tensors are small: a second thread costs more than it brings, most of all on a busy machine.
torch.set_num_threads(1)

# The same examples in every run, and no database beside the code.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _define_torchvision_operators() -> torch.library.Library | None:
    """Let torchvision be imported beside a torch its compiled operators were not built for.

    Its import registers a Python kernel for ``nms`` and fails where the operator is undefined.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    for library in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return None
    operators = torch.library.Library("torchvision", "DEF")
    operators.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    operators.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return operators


# The definitions live as long as this object.
_TORCHVISION_OPERATORS = _define_torchvision_operators()


@pytest.fixture(autouse=True)
def _fixed_random_seeds() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - for libraries that draw from the global generator
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def small_space() -> SearchSpace:
    """Two stages of one layer, 2 × 2 × 2 choices each; without a skip where the width changes."""
    stem = ConvNormAct(out_channels=8, kernel=3, stride=2)
    head = ClassifierHead(num_classes=10)
    stages = (_small_stage("first"), _small_stage("second"))
    return SearchSpace(name="small", stem=(stem,), stages=stages, head=(head,), resolution=16)


def _small_stage(name: str) -> Stage:
    return Stage(
        name=name,
        options={"kernel": (3, 5), "width": (8, 16), "skip": (False, True)},
        base={"kernel": 3, "width": 8, "skip": False},
        layers=_small_layers,
    )


def _small_layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    has_skip = values["skip"] and values["width"] == input_channels
    block = InvertedResidual(
        expanded_channels=2 * input_channels,
        out_channels=int(values["width"]),
        kernel=int(values["kernel"]),
        skip=Skip.IDENTITY if has_skip else Skip.NONE,
    )
    return (block,)


@pytest.fixture(scope="session")
def small_table(small_space: SearchSpace) -> LatencyTable:
    """Of ``small_space``: a network takes 2 ms, and each stage 2 ms of kernel 3 or 4 ms of 5."""
    entries = [_small_entry(OVERHEAD_KEY, 0.5)]
    for block, shape in small_space.reachable_blocks():
        match block:
            case InvertedResidual():
                added_ms = {3: 2.0, 5: 4.0}[block.kernel]
            case ConvNormAct():
                added_ms = 1.0
            case _:
                added_ms = 0.5
        entries.append(_small_entry(block_key(block, shape), 0.5 + added_ms))
    return LatencyTable({"device": {"cpu": "a <fast> CPU"}}, entries, "small.jsonl")


def _small_entry(key: str, latency_ms: float) -> Entry:
    return Entry(
        key=key,
        ratio=latency_ms,
        interval=0.01,
        rounds=5,
        latency_ms=latency_ms,
        reference_ms=1.0,
    )
