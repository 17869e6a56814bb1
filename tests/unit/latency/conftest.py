"""Plan files made by hand, to bend."""

import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from latency.context import After
from latency.plan import (
    MeasureSettings,
    block_entry,
    boundary_entry,
    no_progress,
    write_plan,
)
from search_spaces.blocks import ConvNormAct
from search_spaces.shapes import TensorShape

MakePlan = Callable[..., Path]


@pytest.fixture(scope="session")
def small_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boundary and a block behind it, beside a small reference: measured in a tenth of a second.

    Its graphs are ``graphs/0.onnx``, ``graphs/1.onnx`` and ``graphs/reference.onnx``.
    """
    path = tmp_path_factory.mktemp("plans") / "small.plan"
    place = TensorShape(4, 8, 8), After.CONV
    block = block_entry(ConvNormAct(out_channels=8, kernel=3), *place)
    builders = [partial(boundary_entry, *place), lambda: block]
    write_plan(path, builders, MeasureSettings(runs=3, min_rounds=2, max_rounds=2), no_progress)
    reference = {"key": "reference", "graph": "graphs/reference.onnx", "input_shape": [1, 4, 8, 8]}
    _rewrite(
        path,
        path,
        {"graphs/reference.onnx": block.graph},
        {"reference": reference, "weights_bytes": block.weights_bytes},
    )
    return path


@pytest.fixture
def bent_plan(small_plan: Path, tmp_path: Path) -> MakePlan:
    """``bent_plan(threads=0)``: the small plan with other fields; ``graphs`` are other members."""

    def make(graphs: dict[str, bytes] | None = None, **fields: Any) -> Path:
        path = tmp_path / "bent.plan"
        _rewrite(small_plan, path, graphs or {}, fields)
        return path

    return make


def _rewrite(source: Path, path: Path, members: dict[str, bytes], fields: dict[str, Any]) -> None:
    with zipfile.ZipFile(source) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    description = json.loads(content["plan.json"]) | fields
    content |= {"plan.json": json.dumps(description).encode(), **members}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
