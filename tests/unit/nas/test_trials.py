"""A search's trials: whose a study is, what samplers begin with, how preparing and running end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from omegaconf import OmegaConf

from latency.console import Terminal
from latency.devices import LocalDevice
from latency.plan import MeasureSettings
from latency.table import LatencyTable
from nas.evaluation import EvaluationError
from nas.evaluators import Evaluation
from nas.executors import ThreadExecutor
from nas.limits import Limits
from nas.reward import PowerReward
from nas.run_folder import RunFolder
from nas.settings import SearchSettings
from nas.setup import SamplerRecipe, Search
from nas.storage import StorageError
from nas.study import Candidate, open_study
from nas.training import TrainSettings
from nas.training.failures import TrainingError
from nas.training.meter import DivergenceError
from nas.trials import build_problem, opened_study, run_trials
from search_spaces.spaces import SearchSpace

Run = Callable[..., list[Candidate]]


class Half:
    """Finds an accuracy of 0.5; ``called`` is told how often it was asked."""

    def __init__(self, called: Callable[[int], object] = lambda _: None) -> None:
        self.calls = 0
        self._called = called

    def evaluate(self, *_: Any) -> Evaluation:
        self.calls += 1
        self._called(self.calls)
        return Evaluation(accuracy=0.5)


class Prepares(Half):
    """Fails before the first network, where it is given an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self._error = error

    def prepare(self, monitor: Any) -> None:
        monitor.step(1, 1)
        if self._error is not None:
            raise self._error


@pytest.fixture
def run(small_space: SearchSpace, small_table: LatencyTable, tmp_path: Path) -> Run:
    """``run(settings, evaluator=…, config={…})``: the trials of a search of the small space.

    ``see`` is handed its study, before they begin; ``runs`` is the folder of runs.
    """
    given = SearchSettings(
        name="run", study="phone", storage=None, targets_ms=(6.0,), resolutions=(16,),
        proxy_resolution=16, trials=4, finalists=1, seed=0, handover=False,
        driver_patience_s=120.0, table=Path("table.jsonl"), measure=MeasureSettings(),
        final=TrainSettings(epochs=1, learning_rate=0.1),
    )  # fmt: skip

    def run_one(
        *,
        evaluator: Half | None = None,
        executor: ThreadExecutor | None = None,
        config: dict[str, Any] | None = None,
        see: Callable[[optuna.Study], object] = lambda _: None,
        runs: str = ".",
        **changed: Any,
    ) -> list[Candidate]:
        settings, evaluator = replace(given, **changed), evaluator or Half()
        nothing: Any = None
        search = Search(
            settings=settings,
            space=small_space,
            data=nothing,
            evaluator=evaluator,
            recipe=lambda: evaluator,  # type: ignore[arg-type]
            reward=PowerReward(alpha=0, beta=-1),
            limits=Limits(),
            device=LocalDevice(),
            executor=executor or ThreadExecutor(1),
            pruner=optuna.pruners.NopPruner(),
            sampler=SamplerRecipe.of(
                OmegaConf.create({"_target_": "optuna.samplers.RandomSampler"})
            ),
            second_stage=None,
            folder=tmp_path / runs / settings.name,
            config=config or {},
            command="python -m nas.search",
        )
        terminal = Terminal()
        folder = RunFolder(search.folder, {}, frozenset())
        try:
            problem = build_problem(search, small_table, terminal)
            with opened_study(search, folder, problem, terminal) as study:
                see(study)
                return run_trials(search, folder, study, problem, terminal)
        finally:
            folder.close()

    return run_one


def drawn(found: list[Candidate]) -> list[dict[str, Any]]:
    """What a sampler has drawn: the first is the base network."""
    return [candidate.choices for candidate in found[1:]]


def test_drivers_that_begin_together_draw_other_networks(run: Run, tmp_path: Path) -> None:
    # Of two studies, so that neither sampler can know of the other's trials.
    apart = [
        drawn(run(name=name, storage=f"sqlite:///{tmp_path}/{name}.db")) for name in ("a", "b")
    ]
    assert apart[0] != apart[1]


def test_without_a_storage_to_share_the_seed_alone_decides(run: Run) -> None:
    assert drawn(run(name="a")) == drawn(run(name="b"))


def test_the_same_command_draws_the_same_networks(run: Run, tmp_path: Path) -> None:
    found = [
        drawn(run(storage=f"sqlite:///{tmp_path}/{number}.db", runs=str(number)))
        for number in range(2)
    ]
    assert found[0] == found[1]


def test_a_helper_is_given_the_target_with_headroom(run: Run, tmp_path: Path) -> None:
    shared = {"storage": f"sqlite:///{tmp_path}/shared.db"}
    # netadapt=true, headroom=1.1: as floats, 1.1 · 15 is not 16.5.
    run(name="a", config={"target_latency": "15ms"}, targets_ms=(1.1 * 15,), **shared)
    with pytest.raises(
        ValueError,
        match=r"^the study 'phone' is of a search with target_latency=\"16\.5ms\", but now it is "
        r"\"15ms\" \(times headroom where netadapt=true\); give another study=… or name=…$",
    ):
        run(name="b", config={"target_latency": "15ms"}, targets_ms=(15.0,), **shared)
    found = run(name="c", config={"target_latency": "16.5ms"}, targets_ms=(16.5,), **shared)
    assert len(found) == 4


def test_a_study_of_another_program_is_refused_and_left_as_it_is(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/theirs.db"
    theirs = optuna.create_study(storage=url, study_name="phone", direction="maximize")
    theirs.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with pytest.raises(ValueError, match=r"^the study 'phone' has 2 trials of another program; "):
        run(storage=url)
    theirs = optuna.load_study(storage=url, study_name="phone")
    assert theirs.user_attrs == {}
    assert len(theirs.trials) == 2


def test_an_empty_study_may_be_anybodys(run: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    open_study(optuna.storages.RDBStorage(url), "phone")
    assert len(run(storage=url)) == 4


class Lost:
    """A storage that is lost with the second network; every read of its trials would wait."""

    def __init__(self, error: BaseException) -> None:
        self.waits = 0
        self.evaluator = Half(self._lose)
        self._is_lost = False
        self._error = error

    def _lose(self, calls: int) -> None:
        self._is_lost = calls == 2

    def see(self, study: optuna.Study) -> None:
        get_trials = study.get_trials

        def read(*arguments: Any, **named: Any) -> Any:
            if not self._is_lost:
                return get_trials(*arguments, **named)
            self.waits += 1
            raise self._error if self.waits == 1 else StorageError("still away")

        study.get_trials = read  # type: ignore[method-assign]


def test_a_lost_storage_is_waited_for_once(run: Run) -> None:
    lost = Lost(StorageError("away, for 300 s by now"))
    with pytest.raises(StorageError, match=r"^away, for 300 s by now$"):
        run(evaluator=lost.evaluator, see=lost.see)
    assert lost.waits == 1


def test_who_interrupts_the_wait_for_a_storage_waits_no_more(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = Lost(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(evaluator=lost.evaluator, see=lost.see)
    assert lost.waits == 1
    assert pd.read_csv(tmp_path / "run/trials.csv")["number"].tolist() == [0, 1]
    assert (tmp_path / "run/best_so_far.yaml").exists()
    assert "stopped after 2 of 4 trials; best so far: trial 0" in capsys.readouterr().out


def test_an_interrupt_keeps_what_an_earlier_process_has_found(run: Run, tmp_path: Path) -> None:
    run(trials=2)

    def interrupt(study: optuna.Study) -> None:
        def stop(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        study.set_user_attr = stop  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        run(see=interrupt)
    assert pd.read_csv(tmp_path / "run/trials.csv")["number"].tolist() == [0, 1]


def test_the_time_limit_of_a_network_is_none_of_preparing(run: Run) -> None:
    executor, limited = ThreadExecutor(1), {}
    submit = executor.submit

    def submit_and_note(key: str, call: Any, **named: Any) -> None:
        limited[key] = named.get("limited", True)
        submit(key, call, **named)

    executor.submit = submit_and_note  # type: ignore[method-assign]
    run(evaluator=Prepares(), executor=executor, trials=2)
    assert limited == {"prepare": False, "0": True, "1": True}


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            RuntimeError("CUDA out of memory"),
            EvaluationError,
            "^the evaluator could not be prepared: RuntimeError: CUDA out of memory$",
        ),
        (
            KeyError("nowhere"),
            EvaluationError,
            "^the evaluator could not be prepared: KeyError: 'nowhere'$",
        ),
        (SystemExit(3), EvaluationError, "^the evaluator could not be prepared: SystemExit: 3$"),
        (ValueError("epochs"), ValueError, "^epochs$"),
        (OSError("the disk is full"), OSError, "^the disk is full$"),
        (DivergenceError("the loss is nan"), DivergenceError, "^the loss is nan$"),
        (TrainingError("less memory"), TrainingError, "^less memory$"),
    ],
)
def test_what_preparing_fails_of_is_said_in_a_line(
    run: Run, error: BaseException, kind: type[BaseException], message: str
) -> None:
    evaluator = Prepares(error)
    with pytest.raises(kind, match=message):
        run(evaluator=evaluator)
    assert evaluator.calls == 0
