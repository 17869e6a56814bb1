"""What every storage of a study must do."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.asking import ask
from nas.drivers import Driver
from nas.storage import RetryingStorage, StorageError, open_storage
from nas.storage.cached import MOST_AGAIN, OTHERS_S
from tests.postgres import Postgres

Open = Callable[[], RetryingStorage]
KERNEL = {
    "kernel": CategoricalDistribution((3, 5, 7)),
    "skip": CategoricalDistribution((False, True)),
}


@pytest.fixture(scope="module")
def proxy(postgres: Postgres) -> Iterator[str]:
    """The URL of the command's proxy before a database."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "nas.storage_proxy", "--storage", postgres.new_database()]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().endswith(f"at grpc://127.0.0.1:{port}\n")
        yield f"grpc://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "grpc"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('storage')}/study.db"
    if request.param == "postgresql":
        pytest.importorskip("psycopg")
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database()
    pytest.importorskip("grpc")
    found: str = request.getfixturevalue("proxy")
    return found


@pytest.fixture
def open_one(url: str, tmp_path: Path) -> Iterator[Open]:
    """Open the storage, every time another object."""
    with ExitStack() as stack:

        def opened() -> RetryingStorage:
            storage = open_storage(url, tmp_path / "unused.db")
            stack.callback(storage.close)
            return storage

        yield opened


@pytest.fixture
def study(open_one: Open, request: pytest.FixtureRequest) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    name = request.node.name
    return optuna.create_study(
        storage=open_one(), study_name=name, direction="maximize", sampler=sampler
    )


def again(study: optuna.Study, open_one: Open) -> optuna.Study:
    """The study as another process sees it."""
    return optuna.load_study(storage=open_one(), study_name=study.study_name)


def plain(study: optuna.Study, url: str) -> optuna.Study:
    """The study as Optuna's own code reads it."""
    storage: optuna.storages.BaseStorage
    if url.startswith("grpc"):
        storage = GrpcStorageProxy(host="127.0.0.1", port=int(url.rpartition(":")[2]))
    else:
        storage = RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    return optuna.load_study(storage=storage, study_name=study.study_name)


def texts(trials: list[FrozenTrial]) -> list[str]:
    """Trials as text, in which NaNs are alike, and the order within a trial does not matter."""
    return [
        str({name: sorted(value.items()) if isinstance(value, dict) else value
             for name, value in vars(trial).items()})
        for trial in trials
    ]  # fmt: skip


class TestEveryStorage:
    def test_keeps_what_was_told(self, study: optuna.Study, open_one: Open) -> None:
        for number in range(3):
            trial = ask(study, KERNEL, {"driver": "one"})
            assert trial.number == number
            trial.set_user_attr("result", {"accuracy": 0.5, "network": "a"})
            told = study.tell(trial, 0.1 * number)
            assert (told.params, told.values) == (trial.params, [0.1 * number])
        found = again(study, open_one).get_trials()
        assert found == study.get_trials()
        assert [trial.number for trial in found] == [0, 1, 2]
        for trial in found:
            assert trial.user_attrs == {
                "driver": "one", "result": {"accuracy": 0.5, "network": "a"}
            }  # fmt: skip
            assert trial.distributions == KERNEL
            assert trial.datetime_start < trial.datetime_complete
        assert study.best_value == pytest.approx(0.2)

    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    def test_reads_what_optuna_reads(self, study: optuna.Study, url: str, open_one: Open) -> None:
        study.enqueue_trial({"kernel": 7}, user_attrs={"queued_for": 3})
        study.tell(ask(study, KERNEL), float("inf"))
        study.tell(ask(study, KERNEL), state=TrialState.FAIL)
        pruned = ask(study, {**KERNEL, "width": FloatDistribution(0.5, 1.5)})
        for step, value in ((3, float("nan")), (1, 0.5), (4, -1e-300)):
            pruned.report(value, step)
        study.tell(pruned, state=TrialState.PRUNED)
        study.add_trial(create_trial(value=2.0, params={"kernel": 5}, distributions={
            "kernel": KERNEL["kernel"]}, system_attrs={"generation": [1, None]}))  # fmt: skip
        study.ask().suggest_categorical("kernel", (3, 5, 7))
        ask(study, KERNEL, {"é": "\n"})
        study.enqueue_trial({"kernel": 5})
        expected = plain(study, url).get_trials()
        states = ["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "RUNNING", "RUNNING", "WAITING"]
        assert [trial.state.name for trial in expected] == states
        assert texts(study.get_trials()) == texts(expected)
        assert texts(again(study, open_one).get_trials()) == texts(expected)

    def test_numbers_trials_of_many_threads_one_after_another(
        self, study: optuna.Study, open_one: Open
    ) -> None:
        def work(seed: int) -> list[int]:
            own = again(study, open_one)
            own.sampler = optuna.samplers.RandomSampler(seed=seed)
            numbers = []
            for _ in range(5):
                trial = ask(own, KERNEL)
                own.tell(trial, float(trial.number))
                numbers.append(trial.number)
            return numbers

        with ThreadPoolExecutor(6) as threads:
            numbers = [number for own in threads.map(work, range(6)) for number in own]
        assert sorted(numbers) == list(range(30))
        trials = study.get_trials()
        assert [trial.number for trial in trials] == list(range(30))
        assert [trial.values for trial in trials] == [[float(number)] for number in range(30)]
        assert all(trial.params.keys() == KERNEL.keys() for trial in trials)

    def test_gives_a_waiting_trial_to_one_of_many(
        self, study: optuna.Study, open_one: Open
    ) -> None:
        for _ in range(8):
            study.enqueue_trial({"kernel": 5, "skip": True})
        studies = [again(study, open_one) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            asked = threads.map(lambda own: [ask(own, KERNEL) for _ in range(2)], studies)
            taken = [trial for own in asked for trial in own]
        assert sorted(trial.number for trial in taken) == list(range(8))
        assert all(trial.params == {"kernel": 5, "skip": True} for trial in taken)

    def test_shows_others_work(self, study: optuna.Study, open_one: Open) -> None:
        other = again(study, open_one)
        assert other.get_trials() == []
        trial = ask(study, KERNEL)
        trial.set_user_attr("driver", "one")
        (seen,) = other.get_trials()
        assert (seen.params, seen.state) == (trial.params, TrialState.RUNNING)
        trial.set_user_attr("driver", "two")
        trial.report(0.5, 1)
        assert study.get_trials()[0].user_attrs == {"driver": "two"}
        time.sleep(OTHERS_S)
        assert other.get_trials()[0].user_attrs == {"driver": "two"}
        study.tell(trial, 1.0)
        assert study.get_trials()[0].values == [1.0]
        time.sleep(OTHERS_S)
        assert other.get_trials() == study.get_trials()

    def test_shows_what_became_of_many_trials_of_others(
        self, study: optuna.Study, open_one: Open
    ) -> None:
        other = again(study, open_one)
        trials = [ask(study, KERNEL) for _ in range(2 * MOST_AGAIN + 1)]
        assert {trial.state for trial in other.get_trials()} == {TrialState.RUNNING}
        for number, trial in enumerate(trials):
            study.tell(trial, number / 10)
        time.sleep(OTHERS_S)
        for _ in range(3):
            seen = other.get_trials()
        assert seen == study.get_trials()
        assert [trial.value for trial in seen] == [number / 10 for number in range(len(trials))]

    def test_tells_one_of_two_that_close_a_trial(self, study: optuna.Study, open_one: Open) -> None:
        trial = ask(study, KERNEL)
        other = again(study, open_one)
        other.get_trials()
        other.tell(trial.number, state=TrialState.FAIL)
        with pytest.raises((UpdateFinishedTrialError, ValueError), match=r"FAIL|finished"):
            study.tell(trial, 1.0)
        with pytest.raises(UpdateFinishedTrialError):
            trial.set_user_attr("result", 1)
        assert again(study, open_one).get_trials()[0].state == TrialState.FAIL

    @pytest.mark.parametrize("attributes", [{}, {"result": {"accuracy": 0.5}}])
    @pytest.mark.parametrize(
        ("values", "state"), [([0.5], None), (None, TrialState.PRUNED), (None, TrialState.FAIL)]
    )
    def test_a_driver_is_told_that_its_trial_was_taken_back(
        self,
        study: optuna.Study,
        open_one: Open,
        values: list[float] | None,
        state: TrialState | None,
        attributes: dict[str, Any],
    ) -> None:
        driver = Driver(study, "one")
        trial = ask(study, KERNEL, {"driver": "one"})
        assert driver.adopt(trial, study.get_trials(), 1)
        other = again(study, open_one)
        Driver(other, "one").beat()
        assert driver.tell(trial, values, state=state, attributes=attributes) is None
        lost, queued = again(study, open_one).get_trials()
        assert (lost.state, lost.values) == (TrialState.FAIL, None)
        assert lost.user_attrs == {"driver": "one", "interrupted": True}
        assert queued.state == TrialState.WAITING

    def test_does_not_change_what_it_gave_away(self, study: optuna.Study) -> None:
        trial = ask(study, KERNEL, {"driver": "one"})
        before = study.get_trials(deepcopy=False)[0]
        trial.set_user_attr("driver", "two")
        study.tell(trial, 1.0)
        assert (before.state, before.user_attrs) == (TrialState.RUNNING, {"driver": "one"})
        own = study._storage.get_trial(ask(study, KERNEL)._trial_id)
        own.user_attrs["mine"] = own.params["mine"] = 1
        assert "mine" not in study.get_trials()[1].user_attrs
        assert "mine" not in study.get_trials()[1].params

    def test_refuses_other_choices_than_before(self, study: optuna.Study, open_one: Open) -> None:
        ask(study, KERNEL)
        for opened in (study, again(study, open_one)):
            with pytest.raises((ValueError, StorageError), match="dynamic value space"):
                ask(opened, {"kernel": CategoricalDistribution((3, 9))})
        assert len(study.get_trials()) == 1

    def test_knows_what_is_not_there(self, study: optuna.Study, open_one: Open) -> None:
        storage = open_one()
        with pytest.raises(KeyError):
            storage.get_all_trials(10**6)
        with pytest.raises(KeyError):
            storage.create_new_trial(10**6)
        with pytest.raises(KeyError):
            storage.get_trial(10**6)
        ask(study, KERNEL)
        optuna.delete_study(study_name=study.study_name, storage=study._storage)
        with pytest.raises(KeyError):
            study.get_trials()
        with pytest.raises(KeyError):
            again(study, open_one)


def test_two_that_begin_at_once_in_an_empty_database_both_find_its_tables(
    postgres: Postgres, tmp_path: Path
) -> None:
    pytest.importorskip("psycopg")
    for url in (postgres.new_database(), f"sqlite:///{tmp_path}/study.db"):

        def begin(number: int, url: str = url) -> str:
            storage = open_storage(url, tmp_path)
            optuna.create_study(storage=storage, study_name="study", load_if_exists=True)
            names = [study.study_name for study in storage.get_all_studies()]
            storage.close()
            return names[0]

        with ThreadPoolExecutor(6) as threads:
            assert list(threads.map(begin, range(6))) == ["study"] * 6
