"""What every sampler of conf/sampler must do, through the search loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from latency.table import LatencyTable
from nas.configuration import CONF
from nas.drivers import Driver
from nas.evaluators import Evaluation, Monitor
from nas.executors import ThreadExecutor
from nas.limits import Limits
from nas.loop import SearchLoop
from nas.problem import Problem
from nas.reward import PowerReward
from nas.setup import SamplerRecipe
from nas.storage import open_storage
from nas.study import Candidate, candidates, open_study
from search_spaces import Architecture
from search_spaces.blocks import InvertedResidual
from search_spaces.spaces import Choices, SearchSpace

SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
TRIALS = 24

Run = Callable[..., list[Candidate]]


class ByKernels:
    """A larger kernel is more accurate."""

    def evaluate(
        self, architecture: Architecture, choices: Choices, monitor: Monitor
    ) -> Evaluation:
        kernels = [b.kernel for b in architecture.blocks if isinstance(b, InvertedResidual)]
        return Evaluation(accuracy=sum(kernels) / 20)


class Nobody:
    """Hears nothing, but of failures."""

    def started(self, *_: Any) -> None: ...

    def step(self, *_: Any) -> None: ...

    def finished(self, *_: Any) -> None: ...

    def stopped(self, *_: Any) -> None: ...

    def retried(self, number: int, reason: str) -> None:
        raise AssertionError(reason)

    def failed(self, number: int, reason: str) -> None:
        raise AssertionError(reason)


@pytest.fixture
def recipe(name: str) -> SamplerRecipe:
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("search", [f"sampler={name}", "target_latency=1ms", "name=x"])
    return SamplerRecipe.of(config.sampler)


@pytest.fixture
def run(recipe: SamplerRecipe, small_space: SearchSpace, small_table: LatencyTable) -> Run:
    """``run(folder, trials, seed)``: the candidates of a study that may have begun before."""

    def run(
        folder: Path, trials: int, seed: int = 0, workers: int = 1, **attributes: Any
    ) -> list[Candidate]:
        given = {"reward": PowerReward(), "targets_ms": (8.0,), **attributes}
        problem = Problem.of(small_space, small_table, **given)
        storage = open_storage(None, folder / "study.db")
        study = open_study(storage, "run", pareto=recipe.pareto)
        study.sampler = recipe.make(problem, seed + len(study.trials))
        executor = ThreadExecutor(workers)
        SearchLoop(
            study=study,
            driver=Driver(study, "driver"),
            problem=problem,
            make_evaluator=ByKernels,
            executor=executor,
            observer=Nobody(),
            seed=seed,
            pareto=recipe.pareto,
        ).run(trials)
        executor.close()
        found = candidates(study)
        storage.close()
        return found

    return run


@pytest.mark.parametrize("name", SAMPLERS)
class TestSampler:
    def test_it_proposes_allowed_values_only_and_all_of_them(
        self, run: Run, tmp_path: Path, small_space: SearchSpace
    ) -> None:
        found = run(tmp_path, TRIALS)
        assert len(found) == TRIALS
        assert found[0].choices == small_space.base_choices
        for name, values in small_space.choices.items():
            proposed = {candidate.choices[name] for candidate in found}
            assert proposed == set(values), name
            assert {type(value) for value in proposed} == {type(value) for value in values}

    def test_the_same_seed_proposes_the_same_and_another_does_not(
        self, run: Run, tmp_path: Path
    ) -> None:
        first, second, other = (
            _proposed(run(_folder(tmp_path, name), 16, seed))
            for name, seed in (("first", 0), ("second", 0), ("other", 1))
        )
        assert first == second
        assert first != other

    def test_after_a_resume_it_does_not_propose_the_same_again(
        self, run: Run, tmp_path: Path
    ) -> None:
        before = _proposed(run(tmp_path, 4))
        after = _proposed(run(tmp_path, 7))
        assert after[:4] == before
        assert after[4:] != before[1:]

    def test_several_workers_finish_as_many(self, run: Run, tmp_path: Path) -> None:
        found = run(tmp_path, TRIALS, workers=4)
        assert sorted(candidate.number for candidate in found) == list(range(TRIALS))

    def test_it_keeps_within_limits(self, run: Run, tmp_path: Path) -> None:
        found = run(tmp_path, TRIALS, limits=Limits(max_latency="8ms"))
        assert len(found) == TRIALS
        assert max(candidate.latency_ms for candidate in found) <= 8

    def test_it_takes_several_targets(self, run: Run, tmp_path: Path) -> None:
        assert len(run(tmp_path, TRIALS, targets_ms=(7.0, 9.0))) == TRIALS

    def test_once_it_knows_it_searches_where_rewards_are_high(
        self, name: str, run: Run, tmp_path: Path
    ) -> None:
        # A quarter of the 64 combinations are within 6 ms, where the reward is highest by far. They
        # stand for nine networks.
        hard = PowerReward(alpha=0, beta=-8)
        found = run(tmp_path, 30, reward=hard, targets_ms=(6.0,))
        good = [candidate.network for candidate in found if candidate.latency_ms <= 6]
        # PPO needs hundreds of trials, and NSGA-II follows no reward.
        assert name in ("random", "ppo", "nsga2") or len(good) >= 11 or len(set(good)) == 9


def _proposed(found: list[Candidate]) -> list[dict[str, Any]]:
    return [candidate.choices for candidate in found]


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
