"""A finished search whose figures were written by hand."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latency.plan import MeasureSettings
from latency.table import Entry, LatencyTable
from nas.data import ImageData, MemorySplit, Preprocessing, Split
from nas.handover import Handover
from nas.report.summary import build_summary
from nas.settings import SearchSettings
from nas.setup import Search
from nas.study import Candidate
from nas.training import TrainSettings
from nas.winner import Finalist
from search_spaces.spaces import SearchSpace

MakeSummary = Callable[..., dict[str, Any]]

SETTINGS = SearchSettings(
    name="small_10ms",
    study="small_10ms",
    storage=None,
    targets_ms=(10.0,),
    resolutions=(48,),
    handover=True,
    driver_patience_s=120,
    proxy_resolution=24,
    trials=20,
    finalists=5,
    seed=3,
    table=Path("tables/small.jsonl"),
    measure=MeasureSettings(threads=2),
    final=TrainSettings(epochs=2),
)
FINALIST = Entry(
    key="finalist", latency_ms=9.0, median_ms=9.1, interval=0.01, rounds=20, runs=240, drift=1.0,
    reference_ms=1.0,
)  # fmt: skip


@pytest.fixture
def make_summary(small_space: SearchSpace, small_table: LatencyTable) -> MakeSummary:
    """``make_summary(predicted_ms=9.5, measured_ms=9.8, **fields of the settings)``."""

    def make(predicted_ms: float = 9.5, measured_ms: float = 9.8, **fields: Any) -> dict[str, Any]:
        candidate = Candidate(
            number=7,
            choices=small_space.base_choices,
            reward=0.91,
            accuracy=0.92,
            latency_ms=predicted_ms,
            madds=1,
            params=1,
            peak_activation_bytes=1,
            network="Network(a)",
        )
        architecture = small_space.build(candidate.choices, name="small_7").with_resolution(48)
        entry = Entry(
            key="best.onnx", latency_ms=measured_ms - 0.2, median_ms=measured_ms, interval=0.012,
            rounds=40, runs=480, drift=1.0, reference_ms=1.0,
        )  # fmt: skip
        return build_summary(
            _search(small_space, replace(SETTINGS, **fields)),
            small_table,
            Finalist(candidate=candidate, architecture=architecture, measured=FINALIST),
            Handover(
                validation_accuracy=0.955,
                test_accuracy=0.943,
                tests=1,
                logit_difference=2e-6,
                measured=entry,
                beside=None,
            ),
            target_ms=10.0,
            reachable_ms=(6.0, 10.0),
            decided_by={"trials": 20, "finalists": 5, "final": {}},
        )

    return make


def _search(space: SearchSpace, settings: SearchSettings) -> Search:
    """Of a search, what a summary is made of."""
    command = "python -m nas.search target_latency=10ms"
    parts = {"settings": settings, "space": space, "data": _data(), "command": command}
    return SimpleNamespace(**parts)  # type: ignore[return-value]


def _data() -> ImageData:
    def split(number: int) -> Split:
        return MemorySplit(images=torch.zeros(number, 3, 8, 8), labels=torch.zeros(number).long())

    return ImageData(
        name="digits",
        train=split(6),
        validation=split(3),
        test=split(2),
        class_names=tuple("0123456789"),
        preprocessing=Preprocessing(mean=(0.25,) * 3, std=(0.5,) * 3),
    )
