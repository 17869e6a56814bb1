"""Targets, splits and weights of a run; and its loop, with an executor that trains nothing."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from latency.reach import Step
from latency.table import LatencyTable
from nas.data import MemorySplit
from nas.evaluation import EvaluationError
from nas.executors import Channel, ThreadExecutor
from nas.training import TrainSettings
from nas.training.failures import TrainingError
from nas.training.meter import DivergenceError
from nas.training.weights import save_weights
from netadapt import loop as loop_module
from netadapt.clock import Timed, target_in_ms
from netadapt.journal import Ended, State, StepFolder, steps_ended
from netadapt.loop import NetAdaptLoop, NothingLeftError
from netadapt.proposals import ProposalSettings, steps_to_propose
from netadapt.tuning import Task, Tuning, hold_out
from netadapt.weight_transfer import Keep
from search_spaces import Architecture, load_seed


@pytest.mark.parametrize(
    ("target", "expected"), [("80%", 8.0), ("7.5ms", 7.5), ("500us", 0.5), ("99.5%", 9.95)]
)
def test_a_target_is_a_latency_or_a_share_of_the_seeds(target: str, expected: float) -> None:
    assert target_in_ms(target, 10.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("100%", r"above 0% and below 100% .* '100%'"),
        ("-5%", r"above 0% and below 100%"),
        ("much%", r"above 0% and below 100%"),
        ("8", r"has no unit"),
    ],
)
def test_a_target_that_cannot_be_is_refused(target: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        target_in_ms(target, 10.0)


def test_images_are_kept_apart_with_equal_class_shares() -> None:
    labels = torch.arange(100) % 4
    split = MemorySplit(images=torch.arange(100.0).view(100, 1, 1, 1), labels=labels)
    used, kept = hold_out(split, 0.2, seed=1)
    assert (len(used), len(kept)) == (80, 20)
    assert Counter(kept.labels.tolist()) == {0: 5, 1: 5, 2: 5, 3: 5}
    both = torch.cat([used.images, kept.images]).flatten()
    assert sorted(both.tolist()) == list(range(100))
    again, _ = hold_out(split, 0.2, seed=1)
    assert torch.equal(again.images, used.images)
    with pytest.raises(ValueError, match=r"proposal_share=0\.2 leaves a class without images"):
        hold_out(MemorySplit(images=split.images[:5], labels=torch.arange(5)), 0.2, seed=1)


class Heard:
    """Notes what an observer is told."""

    def __init__(self) -> None:
        self.changes: list[str] = []

    def tuning(self, step: int, done: float, proposals: int) -> None:
        assert 0 <= done <= proposals

    def ended(self, step: int, before: State, ended: Ended) -> None:
        saved_ms = before.predicted_ms - ended.state.predicted_ms
        assert saved_ms == pytest.approx(ended.saved_ms)
        assert saved_ms > 0
        self.changes.append(ended.change)

    def note(self, text: str) -> None:
        raise AssertionError(text)


@pytest.fixture
def seed() -> Architecture:
    return load_seed("mobilenet_v3_small", resolution=32).with_num_classes(10)


@pytest.fixture
def run_loop(
    tmp_path: Path,
    seed: Architecture,
    table_of: Callable[[list[Step]], LatencyTable],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """``run_loop(tune, share)``: the tuned accuracies come from ``tune(task)``."""
    tuning = Tuning(
        data="{}",
        share=0.2,
        steps=1,
        train=TrainSettings(epochs=1),
        resolution=32,
        keep=Keep.LARGEST_NORM,
        seed=0,
    )

    def run(
        tune: Callable[[Task], float], share: float = 0.9, interval: float = 0.0
    ) -> tuple[State, Heard]:
        def task(_: Tuning, task: Task, channel: Channel) -> float:
            accuracy = tune(task)
            save_weights(task.answer.with_suffix(".pt"), {})
            task.answer.write_text(json.dumps({"accuracy": accuracy}))
            return accuracy

        monkeypatch.setattr(loop_module, "tune", task)
        tables: dict[Architecture, LatencyTable] = {}

        def measured(network: Architecture, delta_ms: float) -> LatencyTable:
            return tables.setdefault(network, table_of(steps_to_propose(network)))

        def clock(network: Architecture, path: Path) -> Timed:
            ms = measured(network, 0.0).network_latency_ms(network)
            return Timed(measured_ms=ms, interval=interval)

        heard, start_ms = Heard(), clock(seed, tmp_path).measured_ms
        executor = ThreadExecutor(2)
        loop = NetAdaptLoop(
            folder=tmp_path,
            tuning=tuning,
            proposals=ProposalSettings(),
            delta_ms=0.02 * start_ms,
            decay=1.0,
            measure_proposals=measured,
            clock=clock,
            executor=executor,
            observer=heard,
        )
        start = State(
            architecture=seed,
            weights=tmp_path / "seed.pt",
            accuracy=0.9,
            predicted_ms=start_ms,
            measured_ms=start_ms,
        )
        try:
            return loop.run(start, share * start_ms), heard
        finally:
            executor.close()

    return run


def test_it_shaves_until_the_clock_says_so_and_goes_on_where_it_was(
    run_loop: Callable[..., Any], tmp_path: Path, seed: Architecture
) -> None:
    tuned: list[Path] = []

    def tune(task: Task) -> float:
        tuned.append(task.answer)
        if len(tuned) == 25:
            raise KeyError("killed")
        return 0.9 - 1e-4 * (int(task.answer.stem) % 7)

    with pytest.raises(EvaluationError, match="cannot be fine-tuned: KeyError: 'killed'"):
        run_loop(tune, 0.8)
    begun = len(tuned)  # the other thread may have begun one more
    ended = set(tmp_path.glob("steps/*/[0-9]*.json"))
    end, heard = run_loop(tune, 0.8)
    assert ended
    assert not [path for path in tuned[begun:] if path in ended]
    steps = list(steps_ended(tmp_path))
    assert [step.change for step in steps][-len(heard.changes) :] == heard.changes
    assert steps[-1].state == end
    assert end.weights.exists()
    again, heard = run_loop(lambda task: pytest.fail("nothing is left to do"), 0.8)
    assert (again, heard.changes) == (end, [])
    for number in range(1, len(steps) + 1):
        assert len(list(StepFolder(tmp_path, number).path.glob("*.pt"))) == 1


def test_proposals_that_cannot_be_trained_are_infeasible(
    run_loop: Callable[..., Any], tmp_path: Path
) -> None:
    def tune(task: Task) -> float:
        if int(task.answer.stem) % 2 == 0:
            raise DivergenceError("the loss is nan")
        return 0.9

    end, heard = run_loop(tune, 0.97)
    assert heard.changes
    found = StepFolder(tmp_path, 1)
    assert found.result(0) == {"infeasible": "the loss is nan"}
    assert found.result(1) == {"accuracy": 0.9}
    assert int(end.weights.stem) % 2 == 1


def test_where_nothing_can_be_trained_it_ends(run_loop: Callable[..., Any]) -> None:
    def tune(task: Task) -> float:
        raise DivergenceError("the loss is nan")

    with pytest.raises(ValueError, match=r"none of the \d+ proposals of step 1 could be"):
        run_loop(tune)


def test_where_memory_does_not_suffice_for_all_at_once_it_says_what_helps(
    run_loop: Callable[..., Any],
) -> None:
    def tune(task: Task) -> float:
        raise TrainingError("the memory of cuda does not suffice")

    with pytest.raises(TrainingError, match=r"suffice; or fewer at once: executor\.workers=1"):
        run_loop(tune)


def test_each_step_sees_other_images_and_all_its_proposals_the_same(
    run_loop: Callable[..., Any],
) -> None:
    orders: dict[str, set[int]] = {}

    def tune(task: Task) -> float:
        orders.setdefault(task.answer.parent.name, set()).add(task.order)
        return 0.9

    run_loop(tune, 0.8)
    assert len(orders) > 1
    assert all(len(order) == 1 for order in orders.values())
    assert len(set.union(*orders.values())) == len(orders)


def test_a_target_that_no_network_reaches_ends_it(run_loop: Callable[..., Any]) -> None:
    with pytest.raises(NothingLeftError, match=r"cannot be reached: after \d+ steps"):
        run_loop(lambda task: 0.9, 0.05)


def test_it_goes_on_until_the_clock_is_sure(run_loop: Callable[..., Any], tmp_path: Path) -> None:
    end, _ = run_loop(lambda task: 0.9, 0.9, interval=0.03)
    steps = list(steps_ended(tmp_path))
    target_ms = 0.9 * (steps[0].state.predicted_ms + steps[0].saved_ms)
    assert steps[-1].state == end
    assert 1.03 * end.measured_ms <= target_ms < 1.03 * steps[-2].state.measured_ms


def test_a_damaged_file_of_a_step_is_named(run_loop: Callable[..., Any], tmp_path: Path) -> None:
    run_loop(lambda task: 0.9, 0.97)
    path = tmp_path / "steps" / "001" / "chosen.json"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"001/chosen\.json is damaged .* delete it"):
        run_loop(lambda task: 0.9, 0.97)
