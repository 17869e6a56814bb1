"""Problems whose latencies are made up, and a search loop without a storage or a training."""

from collections.abc import Callable, Mapping
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from nas.configuration import CONF
from nas.limits import Limits
from nas.problem import Problem
from nas.reward import PowerReward
from nas.samplers import History
from search_spaces.blocks import Block, ClassifierHead, ConvNormAct, InvertedResidual
from search_spaces.costs import count_block_costs
from search_spaces.lowering import lower_block
from search_spaces.spaces import Choice, Choices, SearchSpace, Stage

Rows = np.ndarray[Any, np.dtype[np.uint8]]


def _layers(values: Choices, input_channels: int) -> tuple[Block, ...]:
    expanded = input_channels * int(values["expansion"])
    block = InvertedResidual(
        expanded_channels=expanded, out_channels=8, kernel=int(values["kernel"])
    )
    return (block,)


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    """729 networks: three stages of kernel × expansion; the base is the smallest."""
    options: dict[str, tuple[Choice, ...]] = {"kernel": (3, 5, 7), "expansion": (2, 3, 4)}
    stages = tuple(
        Stage(name=name, options=options, base={"kernel": 3, "expansion": 2}, layers=_layers)
        for name in ("first", "second", "third")
    )
    return SearchSpace(
        name="three",
        stem=(ConvNormAct(out_channels=8, kernel=3, stride=2),),
        stages=stages,
        head=(ClassifierHead(num_classes=10),),
        resolution=16,
    )


@pytest.fixture(scope="session")
def make_problem(space: SearchSpace) -> Callable[..., Problem]:
    """``make_problem(another_space, limits=…, members=…)``: a MAdd takes a nanosecond."""

    def cost_ps(block: Block, shape: Any, after: object) -> int:
        return 1000 * count_block_costs(lower_block(block, shape)).madds

    table: Any = SimpleNamespace(block_cost_ps=cost_ps)

    def make(of: SearchSpace | None = None, **others: Any) -> Problem:
        return Problem.of(of or space, table, reward=PowerReward(), targets_ms=(0.05,), **others)

    return make


@pytest.fixture(scope="session")
def problem(make_problem: Callable[..., Problem]) -> Problem:
    return make_problem()


@pytest.fixture(scope="session")
def everything(space: SearchSpace) -> Rows:
    """Every network of ``space``, as rows."""
    return np.array(list(product(range(3), repeat=6)), dtype=np.uint8)


@pytest.fixture(scope="session")
def small_limits(problem: Problem, everything: Rows) -> Limits:
    """That one network of four of ``space`` keeps."""
    quarter = float(np.quantile(problem.latency_ms(everything), 0.25))
    return Limits(max_latency=f"{quarter:.6f}ms")


@pytest.fixture(scope="session")
def make_history() -> Callable[..., History]:
    """``make_history(rows, rewards, others=rows)``."""

    def make(rows: Any, rewards: Any, others: Any = ()) -> History:
        indices = np.array(rows, dtype=np.uint8)
        return History(
            indices=indices,
            rewards=np.array(rewards, dtype=np.float64),
            accuracies=np.array(rewards, dtype=np.float64),
            numbers=np.arange(len(indices)),
            others=np.array(others, dtype=np.uint8).reshape(-1, indices.shape[1]),
        )

    return make


@pytest.fixture(scope="session")
def sampler_of() -> Callable[..., optuna.samplers.BaseSampler]:
    """``sampler_of("ppo", problem, seed=3, run_seed=0)``: by its file in ``conf/``."""

    def make(name: str, problem: Problem, seed: int, run_seed: int = 0) -> Any:
        file = OmegaConf.load(CONF / "sampler" / f"{name}.yaml")
        node = OmegaConf.create({"seed": run_seed, "sampler": file}).sampler
        node.pop("objectives", None)
        offered: dict[str, Any] = {"seed": seed}
        if node["_target_"].startswith("nas."):
            offered["problem"] = problem
        return instantiate(node, _partial_=True)(**offered)

    return make


class Search:
    """Asks a sampler for networks, ``pending`` at a time, and tells what they reach.

    Attributes:
        ends: how trials end that do not finish, by number.
    """

    def __init__(
        self, problem: Problem, *, pareto: bool, ends: Mapping[int, TrialState] | None = None
    ) -> None:
        self.problem = problem
        self._pareto = pareto
        self._ends = ends or {}
        directions = ["maximize", "minimize"] if pareto else ["maximize"]
        self.study = optuna.create_study(directions=directions)
        self.study.enqueue_trial(problem.space.base_choices)
        self.distributions: dict[str, Any] = {
            name: CategoricalDistribution(values) for name, values in problem.space.choices.items()
        }

    def run(self, sampler: Any, trials: int, pending: int = 1) -> Rows:
        """All networks asked for so far, as rows in order of number."""
        self.study.sampler = sampler
        running: list[optuna.Trial] = []
        while len(self.study.trials) < trials:
            running.append(self.study.ask(self.distributions))
            if len(running) == pending:
                # The first to start are not the first to finish.
                self.tell(running.pop(len(self.study.trials) % pending))
        for trial in running:
            self.tell(trial)
        return self.rows()

    def rows(self) -> Rows:
        trials = self.study.trials
        indices = [self.problem.space.choice_indices(trial.params) for trial in trials]
        return np.array(indices, dtype=np.uint8)

    def rewards(self) -> Any:
        finished = [t for t in self.study.trials if t.state == TrialState.COMPLETE]
        return np.array([trial.user_attrs["result"]["reward"] for trial in finished])

    def rewards_of(self, rows: Rows) -> Any:
        return self.problem.objective(self.accuracy(rows), self.problem.latency_ms(rows))

    def tell(self, trial: optuna.Trial) -> None:
        if trial.number in self._ends:
            self.study.tell(trial, state=self._ends[trial.number])
            return
        row = self.problem.row(trial.params)
        accuracy, latency_ms = self.accuracy(row)[0], self.problem.latency_ms(row)[0]
        reward = float(self.problem.objective(accuracy, latency_ms)[0])
        result = {"accuracy": accuracy, "latency_ms": latency_ms, "reward": reward}
        trial.set_user_attr("result", result)
        self.study.tell(trial, [accuracy, latency_ms] if self._pareto else reward)

    @staticmethod
    def accuracy(rows: Rows) -> Any:
        """Rises with every index, less and less, and falls where neighbours are both 1."""
        ones = ((rows[:, :-1] == 1) & (rows[:, 1:] == 1)).sum(axis=1)
        return 0.3 + 0.08 * np.sqrt(rows.astype(float)).sum(axis=1) - 0.03 * ones


@pytest.fixture(scope="session")
def make_search() -> type[Search]:
    """``make_search(problem, pareto=False, ends={3: TrialState.FAIL})``."""
    return Search
