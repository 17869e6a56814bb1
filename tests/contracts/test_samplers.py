"""What every sampler of conf/sampler must do, through the search loop."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from latency.table import LatencyTable
from nas.evaluators import Evaluation
from nas.reward import PowerReward
from nas.setup import build_search
from nas.study import Candidate, SearchLoop, candidates, open_study
from nas.training.loop import StepCallback
from search_spaces import Architecture
from search_spaces.blocks import InvertedResidual
from search_spaces.spaces import SearchSpace

CONF = Path(__file__).parents[2] / "conf"
SAMPLERS = sorted(path.stem for path in (CONF / "sampler").glob("*.yaml"))
TRIALS = 16


class ByKernels:
    """A larger kernel is more accurate."""

    def evaluate(self, architecture: Architecture, on_step: StepCallback) -> Evaluation:
        kernels = [b.kernel for b in architecture.blocks if isinstance(b, InvertedResidual)]
        return Evaluation(accuracy=sum(kernels) / 20)


class Nobody:
    """Hears nothing."""

    @contextmanager
    def training(self, number: int, latency_ms: float) -> Iterator[StepCallback]:
        yield lambda *_: None

    def finished(self, candidate: Candidate, best: Candidate) -> None: ...

    def failed(self, number: int, reason: str) -> None:
        raise AssertionError(reason)


@pytest.mark.parametrize("name", SAMPLERS)
class TestSampler:
    @pytest.fixture
    def run(self, name: str, small_space: SearchSpace, small_table: LatencyTable) -> Any:
        """``run(folder, trials, seed)``: the candidates of a study that may have begun before."""
        searches = {}

        def run(folder: Path, trials: int, seed: int = 0) -> list[Candidate]:
            if seed not in searches:
                overrides = ["target_latency=1ms", "name=x", f"sampler={name}", f"seed={seed}"]
                with initialize_config_dir(config_dir=str(CONF), version_base=None):
                    searches[seed] = build_search(compose("search", overrides), command="")
            study = open_study(folder / "study.db", "run", searches[seed].make_sampler)
            SearchLoop(
                study=study,
                space=small_space,
                table=small_table,
                evaluator=ByKernels(),
                reward=PowerReward(),
                target_ms=8.0,
                observer=Nobody(),
            ).run(trials)
            return candidates(study)

        return run

    def test_it_proposes_allowed_values_only_and_all_of_them(
        self, run: Any, tmp_path: Path, small_space: SearchSpace
    ) -> None:
        found = run(tmp_path, TRIALS)
        assert len(found) == TRIALS
        assert found[0].choices == small_space.base_choices
        for name, values in small_space.choices.items():
            proposed = {candidate.choices[name] for candidate in found}
            assert proposed == set(values), name
            assert {type(value) for value in proposed} == {type(value) for value in values}

    def test_the_same_seed_proposes_the_same_and_another_does_not(
        self, run: Any, tmp_path: Path
    ) -> None:
        first, second, other = (
            _proposed(run(_folder(tmp_path, name), 6, seed))
            for name, seed in (("first", 0), ("second", 0), ("other", 1))
        )
        assert first == second
        assert first != other

    def test_after_a_resume_it_does_not_propose_the_same_again(
        self, run: Any, tmp_path: Path
    ) -> None:
        before = _proposed(run(tmp_path, 4))
        after = _proposed(run(tmp_path, 7))
        assert after[:4] == before
        assert after[4:] != before[1:]


def _proposed(found: list[Candidate]) -> list[dict[str, Any]]:
    return [candidate.choices for candidate in found]


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder
