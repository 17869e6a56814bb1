"""The search loop: what is evaluated in which order, what is recorded, what survives a death."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from latency.table import LatencyTable
from nas.evaluators import Evaluation
from nas.reward import PowerReward
from nas.study import Candidate, SearchLoop, candidates, open_study, ranked, suggest
from nas.training.loop import DivergenceError, StepCallback
from search_spaces import Architecture
from search_spaces.blocks import InvertedResidual
from search_spaces.spaces import Choice, SearchSpace

BASE: dict[str, Choice] = {
    "first.kernel": 3, "first.width": 8, "first.skip": False,
    "second.kernel": 3, "second.width": 8, "second.skip": False,
}  # fmt: skip


class KernelEvaluator:
    """0.5, and 0.1 more a kernel of 5. Fails on the networks whose turns are in ``fails``."""

    def __init__(self, fails: Container[int] = ()) -> None:
        self.seen: list[Architecture] = []
        self._fails = fails

    def evaluate(self, architecture: Architecture, on_step: StepCallback) -> Evaluation:
        self.seen.append(architecture)
        if len(self.seen) - 1 in self._fails:
            raise DivergenceError("the loss is nan at step 3 of 9")
        on_step(1, 1)
        kernels = [b.kernel for b in architecture.blocks if isinstance(b, InvertedResidual)]
        return Evaluation(accuracy=0.5 + 0.1 * kernels.count(5))


class Recorder:
    """Keeps what the loop says."""

    def __init__(self) -> None:
        self.latencies: dict[int, float] = {}
        self.steps: list[tuple[int, int]] = []
        self.best: list[int] = []
        self.failures: dict[int, str] = {}

    @contextmanager
    def training(self, number: int, latency_ms: float) -> Iterator[StepCallback]:
        self.latencies[number] = latency_ms
        yield lambda done, total: self.steps.append((done, total))

    def finished(self, candidate: Candidate, best: Candidate) -> None:
        self.best.append(best.number)

    def failed(self, number: int, reason: str) -> None:
        self.failures[number] = reason


def _study(folder: Path, seed: int = 0) -> optuna.Study:
    return open_study(
        folder / "study.db", "run", lambda so_far: optuna.samplers.RandomSampler(seed + so_far)
    )


def _loop(
    study: optuna.Study,
    space: SearchSpace,
    table: LatencyTable,
    evaluator: KernelEvaluator | None = None,
    recorder: Recorder | None = None,
) -> SearchLoop:
    return SearchLoop(
        study=study,
        space=space,
        table=table,
        evaluator=evaluator or KernelEvaluator(),
        reward=PowerReward(alpha=0, beta=-1),
        target_ms=6.0,
        observer=recorder or Recorder(),
    )


def test_the_base_network_is_first_and_its_figures_are_recorded(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study, evaluator, recorder = _study(tmp_path), KernelEvaluator(), Recorder()
    _loop(study, small_space, small_table, evaluator, recorder).run(1)
    (found,) = candidates(study)
    assert (found.number, found.choices) == (0, BASE)
    # 0.5 + 1 + 2 + 2 + 0.5 ms, exactly the target.
    assert (found.latency_ms, found.accuracy, found.reward) == (6.0, 0.5, 0.5)
    # Two norms' worth of stem, (8→16→8 of kernel 3) twice, and 10 classes of 8 channels.
    block = 8 * 16 + 2 * 16 + 16 * 9 + 2 * 16 + 16 * 8 + 2 * 8
    assert found.params == 3 * 9 * 8 + 2 * 8 + 2 * block + 8 * 10 + 10
    assert evaluator.seen[0].blocks == small_space.build(BASE).blocks
    assert (recorder.latencies, recorder.steps, recorder.best) == ({0: 6.0}, [(1, 1)], [0])


def test_rewards_follow_accuracy_and_latency_of_the_network(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study = _study(tmp_path)
    slower = BASE | {"first.kernel": 5, "second.kernel": 5}
    study.enqueue_trial(slower)
    _loop(study, small_space, small_table).run(1)
    (found,) = candidates(study)
    assert found.choices == slower
    assert found.latency_ms == 10.0
    assert found.accuracy == pytest.approx(0.7)
    assert found.reward == pytest.approx(0.7 * 6 / 10)


def test_equal_networks_are_trained_once(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study, evaluator = _study(tmp_path), KernelEvaluator()
    # Where the width changes there is no skip to choose.
    wider = BASE | {"first.width": 16, "second.width": 8}
    for skip in (False, True):
        study.enqueue_trial(wider | {"first.skip": skip})
    _loop(study, small_space, small_table, evaluator).run(2)
    first, second = candidates(study)
    assert (first.choices["first.skip"], second.choices["first.skip"]) == (False, True)
    assert len(evaluator.seen) == 1
    assert first.network == second.network
    assert (first.accuracy, first.reward) == (second.accuracy, second.reward)


def test_a_study_goes_on_where_it_was(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    _loop(_study(tmp_path), small_space, small_table).run(3)
    before = candidates(_study(tmp_path))
    seeds: list[int] = []

    def sampler_for(so_far: int) -> optuna.samplers.BaseSampler:
        seeds.append(so_far)
        return optuna.samplers.RandomSampler(so_far)

    study = open_study(tmp_path / "study.db", "run", sampler_for)
    _loop(study, small_space, small_table).run(5)
    after = candidates(study)
    assert seeds == [3]
    assert after[:3] == before
    assert [candidate.number for candidate in after] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("name", ["100% mine", "what?", "a#b", "a%20b", "größer"])
def test_the_folder_may_be_called_anything(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    _study(folder).enqueue_trial({"first.kernel": 3})
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.db")] == [
        Path(name) / "study.db"
    ]
    assert len(_study(folder).trials) == 1


def test_enough_trials_are_not_exceeded(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study, evaluator = _study(tmp_path), KernelEvaluator()
    _loop(study, small_space, small_table).run(3)
    _loop(study, small_space, small_table, evaluator).run(2)
    assert len(candidates(study)) == 3
    assert evaluator.seen == []


def test_a_trial_whose_process_died_is_closed_and_run_again_with_its_choices(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    dying = _study(tmp_path)
    _loop(dying, small_space, small_table).run(1)
    lost = suggest(dying.ask(), small_space)
    study = _study(tmp_path, seed=99)
    assert [trial.state for trial in study.trials] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.WAITING,
    ]
    _loop(study, small_space, small_table).run(2)
    again = candidates(study)[1]
    assert (again.number, again.choices) == (2, lost)
    assert study.trials[2].user_attrs["retry_of"] == 1
    # Once is enough: the next process finds nothing left over.
    assert len(_study(tmp_path).trials) == 3


def test_a_base_network_whose_process_died_before_its_choices_is_run_again(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    dying = _study(tmp_path)
    dying.enqueue_trial(small_space.base_choices)
    dying.ask()
    study = _study(tmp_path)
    _loop(study, small_space, small_table).run(1)
    assert candidates(study)[0].choices == BASE


def test_networks_that_cannot_be_trained_are_reported_and_replaced(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study, recorder = _study(tmp_path), Recorder()
    fails = (0, 1, 2, 3, 5, 6, 7, 8)
    _loop(study, small_space, small_table, KernelEvaluator(fails), recorder).run(2)
    assert recorder.failures == dict.fromkeys(fails, "the loss is nan at step 3 of 9")
    assert [candidate.number for candidate in candidates(study)] == [4, 9]


def test_five_failures_in_a_row_stop_the_search(
    tmp_path: Path, small_space: SearchSpace, small_table: LatencyTable
) -> None:
    study, recorder = _study(tmp_path), Recorder()
    loop = _loop(study, small_space, small_table, KernelEvaluator(range(100)), recorder)
    with pytest.raises(ValueError, match=r"^5 networks in a row .* evaluator\.settings\.learning"):
        loop.run(10)
    assert sorted(recorder.failures) == [0, 1, 2, 3, 4]
    assert candidates(study) == []


def test_what_meets_the_target_ranks_first_then_reward_then_age() -> None:
    def candidate(number: int, reward: float, latency_ms: float = 1.0) -> Candidate:
        return Candidate(
            number=number, choices={}, reward=reward, accuracy=0.5, latency_ms=latency_ms, madds=1,
            params=1, network=str(number),
        )  # fmt: skip

    found = [candidate(0, 0.1), candidate(1, 0.7), candidate(2, 0.7), candidate(3, 0.9, 2.1)]
    assert [c.number for c in ranked(found, 2.0)] == [1, 2, 0, 3]
