"""A finished search and a finished training whose figures were written by hand."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from latency.plan import MeasureSettings
from latency.table import Entry, LatencyTable
from nas.data import ImageData, MemorySplit, Preprocessing, Split
from nas.handover import Handover
from nas.report.contents import SearchReport, search_report
from nas.report.summary import build_summary
from nas.report.training_contents import TrainingReport, training_report
from nas.report.training_summary import build_summary as build_training_summary
from nas.report.trials import trial_table
from nas.reward import PowerReward
from nas.settings import SearchSettings
from nas.setup import Search
from nas.study import Candidate
from nas.train_setup import TrainRun
from nas.training import TrainSettings
from nas.training.logs import COLUMNS
from nas.winner import Finalist
from search_spaces import count_costs
from search_spaces.spaces import SearchSpace

MakeSummary = Callable[..., dict[str, Any]]
MakeReport = Callable[..., SearchReport]
MakeTrainRun = Callable[..., TrainRun]

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
        finalist = Finalist(candidate=candidate, architecture=architecture, measured=FINALIST)
        entry = Entry(
            key="best.onnx", latency_ms=measured_ms - 0.2, median_ms=measured_ms, interval=0.012,
            rounds=40, runs=480, drift=1.0, reference_ms=1.0,
        )  # fmt: skip
        return build_summary(
            _search(small_space, replace(SETTINGS, **fields)),
            small_table,
            finalist,
            Handover(
                validation_accuracy=0.955,
                test_accuracy=0.943,
                tests=1,
                logit_difference=2e-6,
                measured=entry,
                beside=None,
            ),
            finalists=[finalist],
            target_ms=10.0,
            reachable_ms=(6.0, 10.0),
            decided_by={"trials": 20, "finalists": 5, "final": {}},
        )

    return make


@pytest.fixture
def found(small_space: SearchSpace, small_table: LatencyTable) -> list[Candidate]:
    """Twenty networks with the table's latencies; those that are wide or slow are more accurate.

    Trial 0 is the base network.
    """
    names = list(small_space.choices)
    values = list(product(*small_space.choices.values()))
    candidates = []
    for number in range(20):
        choices = dict(zip(names, values[number * 3], strict=True))
        network = small_space.build(choices)
        latency_ms, costs = small_table.network_latency_ms(network), count_costs(network)
        candidates.append(
            Candidate(
                number=number,
                choices=choices,
                reward=0.5,
                accuracy=0.5 + costs.params / 10_000 + latency_ms / 100 + number / 1000,
                latency_ms=latency_ms,
                madds=costs.madds,
                params=costs.params,
                peak_activation_bytes=1,
                network=f"Network({number})",
            )
        )
    return candidates


@pytest.fixture
def make_report(
    make_summary: MakeSummary,
    small_space: SearchSpace,
    small_table: LatencyTable,
    found: list[Candidate],
) -> MakeReport:
    """``make_report(trials=12, table=…, measured_ms=9.8)``: of the first so many networks."""

    def make(trials: int = 20, table: LatencyTable = small_table, **figures: Any) -> SearchReport:
        taken, winner = found[:trials], found[min(7, trials - 1)]
        architecture = small_space.build(winner.choices, name=f"small_{winner.number}")
        finalist = Finalist(candidate=winner, architecture=architecture, measured=FINALIST)
        search = _search(small_space, SETTINGS)
        summary = make_summary(**figures)
        summary["search"]["winner"] = winner.number
        summary["latency"]["finalists"][0]["trial"] = winner.number
        return search_report(search, summary, table, finalist, taken, trial_table(taken))

    return make


LOG = """\
1,1,2.5,0.05,100,
2,1,2,0.1,200,0.25
4,2,1.5,0.05,200,0.75
6,3,1,0,300,0.5
"""


@pytest.fixture
def make_training_summary(make_train_run: MakeTrainRun) -> MakeSummary:
    """``make_training_summary(measured_ms=9.8, target_ms=10.0, timed=True)``."""

    def make(measured_ms: float = 9.8, **attributes: Any) -> dict[str, Any]:
        run = make_train_run(**attributes)
        made = {
            "validation_accuracy": 0.75, "test_accuracy": 0.7, "tests": 1, "logit_difference": 2e-6,
            "epoch": 2,
        }  # fmt: skip
        entry = Entry(
            key="best.onnx", latency_ms=measured_ms - 0.2, median_ms=measured_ms, interval=0.012,
            rounds=40, runs=480, drift=1.0, reference_ms=1.0,
        )  # fmt: skip
        clock = (entry, run.device.describe()) if run.timed else (None, None)
        return build_training_summary(run, run.architecture, made, *clock)

    return make


@pytest.fixture
def make_training(
    make_train_run: MakeTrainRun, make_training_summary: MakeSummary, tmp_path: Path
) -> Callable[..., TrainingReport]:
    """``make_training(target_ms=10.0, measured_ms=9.8)``: three epochs, the second of them kept."""

    def make(log: str = LOG, measured_ms: float = 9.8, **attributes: Any) -> TrainingReport:
        run = make_train_run(**attributes)
        (tmp_path / "log.csv").write_text(",".join(COLUMNS) + "\n" + log)
        summary = make_training_summary(measured_ms, **attributes)
        return training_report(run, run.architecture, summary, tmp_path)

    return make


def _search(space: SearchSpace, settings: SearchSettings) -> Search:
    """Of a search, what a report is made of."""
    command = "python -m nas.search target_latency=10ms"
    parts: dict[str, Any] = {"settings": settings, "space": space, "data": _data()}
    parts |= {"command": command, "reward": PowerReward()}
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
