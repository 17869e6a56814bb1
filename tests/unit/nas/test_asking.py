from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import HyperbandPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event

from nas.asking import ask
from nas.storage import open_storage
from search_spaces.spaces import SearchSpace


class Noting(BaseSampler):
    """A sampler of somebody's own: it proposes one choice by itself and leaves others, and notes
    what it is shown."""

    def __init__(self, kernels: tuple[int, ...] = (3, 5, 7)) -> None:
        self._kernels = kernels
        self.seen: list[Any] = []
        self._random = RandomSampler(seed=3)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.seen.append(("before", trial.number, trial.state.name, len(study.get_trials())))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {"first.kernel": CategoricalDistribution(self._kernels)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        study._storage.set_trial_system_attr(trial._trial_id, "chosen", ["first.kernel"])
        study._storage.set_study_system_attr(study._study_id, "last", trial.number)
        return {"first.kernel": self._kernels[trial.number % 2]}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: Any
    ) -> Any:
        self.seen.append((param_name, dict(trial.params), dict(trial.system_attrs)))
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.seen.append(("after", trial.number, state.name, values))


SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=1),
    "tpe": lambda: TPESampler(seed=1, n_startup_trials=4),
    "independent tpe": lambda: TPESampler(seed=1, n_startup_trials=4, multivariate=False),
    "nsga2": lambda: NSGAIISampler(seed=1, population_size=4),
    "noting": Noting,
}


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    return {name: CategoricalDistribution(values) for name, values in space.choices.items()}


def as_optuna(study: Study, space: SearchSpace) -> optuna.Trial:
    trial = study.ask()
    for name, values in space.choices.items():
        trial.suggest_categorical(name, values)
    return trial


def study_attrs(study: Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def score(trial: optuna.Trial) -> float:
    return sum(map(float, trial.params.values())) + 0.01 * trial.number


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("pruner", [None, HyperbandPruner()], ids=["", "hyperband"])
def test_it_asks_a_sampler_for_what_optuna_asks_it(
    name: str, pruner: Any, wider_space: SearchSpace
) -> None:
    studies = [
        optuna.create_study(
            study_name="study", direction="maximize", sampler=SAMPLERS[name](), pruner=pruner
        )
        for _ in range(2)
    ]
    studies[0].enqueue_trial(wider_space.base_choices)
    studies[1].enqueue_trial(wider_space.base_choices)
    for _ in range(16):
        expected = as_optuna(studies[0], wider_space)
        trial = ask(studies[1], distributions(wider_space))
        assert trial.params == expected.params
        studies[0].tell(expected, score(expected))
        studies[1].tell(trial, score(trial))
    ours, theirs = studies[1].get_trials(), studies[0].get_trials()
    assert len({tuple(trial.params.values()) for trial in ours}) > 4
    for trial, expected_trial in zip(ours, theirs, strict=True):
        assert trial.number == expected_trial.number
        assert trial.values == expected_trial.values
        assert trial.system_attrs == expected_trial.system_attrs
    assert study_attrs(studies[1]) == study_attrs(studies[0])


def test_a_sampler_sees_a_trial_begin_once_and_its_parameters_one_after_another(
    small_space: SearchSpace,
) -> None:
    sampler = Noting((3, 5))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    trial = ask(study, distributions(small_space), {"driver": "one"})
    study.tell(trial, 0.5)
    names = [name for name in small_space.choices if name != "first.kernel"]
    assert [entry[0] for entry in sampler.seen] == ["before", *names, "after"]
    assert sampler.seen[0] == ("before", 0, "RUNNING", 1)
    assert [len(entry[1]) for entry in sampler.seen[1:-1]] == [1, 2, 3, 4, 5]
    assert sampler.seen[1][2] == {"chosen": ["first.kernel"]}
    (found,) = study.get_trials()
    assert found.system_attrs == {"chosen": ["first.kernel"]}
    assert found.user_attrs == {"driver": "one"}
    assert study_attrs(study) == {"last": 0}


def test_the_trial_is_one_of_the_study_itself(small_space: SearchSpace) -> None:
    study = optuna.create_study(direction="maximize", sampler=Noting((3, 5)))
    trial = ask(study, distributions(small_space))
    assert (trial.study, trial.storage) == (study, study._storage)
    trial.suggest_categorical("one_more", (1, 2))
    trial.report(0.5, 1)
    assert not trial.should_prune()
    trial.set_user_attr("result", 1)
    study.tell(trial, 0.5)
    (found,) = study.get_trials()
    assert found.params.keys() == {*small_space.choices, "one_more"}
    assert (found.intermediate_values, found.user_attrs) == ({1: 0.5}, {"result": 1})


def test_running_trials_are_seen_with_all_their_parameters(small_space: SearchSpace) -> None:
    study = optuna.create_study(direction="maximize", sampler=TPESampler(seed=0))
    for _ in range(12):
        trial = ask(study, distributions(small_space))
        study.tell(trial, score(trial))
    running = [ask(study, distributions(small_space)) for _ in range(3)]
    shown: list[dict[str, Any]] = []

    class Seeing(RandomSampler):
        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            others = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            shown.extend(other.params for other in others if other.number != trial.number)

    study.sampler = Seeing()
    ask(study, distributions(small_space))
    assert shown == [trial.params for trial in running]


def test_a_waiting_trial_comes_first_and_keeps_what_is_fixed(small_space: SearchSpace) -> None:
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))
    study.enqueue_trial({"first.kernel": 5}, user_attrs={"queued_for": 7})
    ask(study, distributions(small_space))
    ask(study, distributions(small_space), {"driver": "one"})
    study.enqueue_trial(small_space.base_choices)
    last = ask(study, distributions(small_space), {"driver": "one"})
    first, _, third = study.get_trials()
    assert (first.params["first.kernel"], first.user_attrs) == (5, {"queued_for": 7})
    assert first.params.keys() == small_space.choices.keys()
    assert third.params == small_space.base_choices
    assert last.user_attrs == third.user_attrs == {"driver": "one"}


def test_a_sampler_that_fails_leaves_no_trial_behind(small_space: SearchSpace) -> None:
    class Failing(RandomSampler):
        def sample_independent(self, *arguments: Any) -> Any:
            raise ValueError("no idea")

    study = optuna.create_study(direction="maximize", sampler=Failing())
    with pytest.raises(ValueError, match="no idea"):
        ask(study, distributions(small_space))
    assert study.get_trials() == []


def test_it_takes_one_transaction_in_which_the_statements_do_not_grow_with_the_parameters(
    tmp_path: Path, small_space: SearchSpace
) -> None:
    storage = open_storage(None, tmp_path / "study.db")
    study = optuna.create_study(storage=storage, sampler=RandomSampler(seed=0))
    many = {f"choice{number}": CategoricalDistribution((1, 2, 3)) for number in range(60)}
    counts, written = [], []
    ask(study, distributions(small_space))

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        written.append(statement)

    engine = storage._inner._inner.engine  # type: ignore[attr-defined]
    event.listen(engine, "before_cursor_execute", note)
    for wanted in (distributions(small_space), many, many):
        written.clear()
        ask(study, wanted, {"driver": "one"})
        counts.append(len(written))
        assert sum(statement.startswith("BEGIN") for statement in written) == 1
    assert counts[0] == counts[2] < 20
    storage.close()


@pytest.mark.parametrize("make", [InMemoryStorage, lambda: RDBStorage("sqlite://")])
def test_it_works_with_optunas_own_storages(
    make: Callable[[], Any], small_space: SearchSpace
) -> None:
    study = optuna.create_study(storage=make(), sampler=RandomSampler(seed=0))
    trial = ask(study, distributions(small_space), {"driver": "one"})
    study.tell(trial, 1.0)
    (found,) = study.get_trials()
    assert (found.params, found.user_attrs) == (trial.params, {"driver": "one"})
