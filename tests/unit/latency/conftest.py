"""Plan files made by hand, to bend."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latency.context import After
from latency.plan import MeasureSettings, block_entry, boundary_entry, write_plan
from search_spaces.blocks import ConvNormAct
from search_spaces.shapes import TensorShape

MakePlan = Callable[..., Path]


@pytest.fixture(scope="session")
def small_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boundary and a block behind it: a whole plan, measured in a second."""
    path = tmp_path_factory.mktemp("plans") / "small.plan"
    place = TensorShape(4, 8, 8), After.CONV
    entries = boundary_entry(*place), block_entry(ConvNormAct(out_channels=8, kernel=3), *place)
    settings = MeasureSettings(runs=3, min_rounds=2, max_rounds=2)
    write_plan(path, [lambda entry=entry: entry for entry in entries], settings, lambda *_: None)
    return path


@pytest.fixture
def bent_plan(small_plan: Path, tmp_path: Path) -> MakePlan:
    """``bent_plan(threads=0)``: the small plan with other fields; ``graphs`` are other members."""

    def make(graphs: dict[str, bytes] | None = None, **fields: Any) -> Path:
        with zipfile.ZipFile(small_plan) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        content = json.loads(members["plan.json"]) | fields
        members |= {"plan.json": json.dumps(content).encode(), **(graphs or {})}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        path = tmp_path / "bent.plan"
        path.write_bytes(buffer.getvalue())
        return path

    return make
