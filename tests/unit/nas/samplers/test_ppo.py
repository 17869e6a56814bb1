"""PPO: the objective and a step by hand, what is learned, and that it follows from the trials."""

from typing import Any

import numpy as np
import pytest
import torch
from optuna.trial import TrialState

from nas.problem import Problem
from nas.samplers import PpoSampler, PpoSettings, ppo
from nas.samplers.ppo import Learner, objective

AMOUNTS = (3, 3, 3, 3, 3, 3)


def _parameters(sampler: PpoSampler) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in sampler._learner.controller.parameters()]


def _equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_the_objective_and_its_gradient_by_hand() -> None:
    settings = PpoSettings(clip=0.2, entropy=0.5)
    ratios = np.array([[0.5, 0.9], [1.5, 1.1], [0.5, 1.5], [1.0, 1.3]])
    advantages = np.array([2.0, 2.0, -1.0, -3.0])
    entropies = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6], [0.7, 0.8]])
    before = np.full((4, 2), -1.25)
    logs = torch.tensor(before + np.log(ratios), requires_grad=True)
    gain = objective(
        logs, torch.tensor(entropies), torch.tensor(before), torch.tensor(advantages), settings
    )
    # Of a good network a ratio counts up to 1.2, of a bad one from 0.8 on.
    gains = [2 * 0.5, 2 * 0.9, 2 * 1.2, 2 * 1.1, -0.8, -1.5, -3.0, -3.9]
    assert gain.item() == pytest.approx(sum(gains) / 8 + 0.5 * 0.45)
    gain.backward()
    assert logs.grad is not None
    # Where it is clipped, nothing pulls; elsewhere d ratio / d log = ratio.
    expected = [[2 * 0.5, 2 * 0.9], [0, 2 * 1.1], [0, -1.5], [-3.0, -3.9]]
    assert logs.grad.numpy() == pytest.approx(np.array(expected) / 8)


def test_a_step_by_hand() -> None:
    """The biases of the last head: policy gradient, entropy's gradient, Adam's first step."""
    settings = PpoSettings(units=4, epochs=1, entropy=0.01, learning_rate=0.002)
    learner = Learner(AMOUNTS, settings, seed=0)
    networks = np.random.default_rng(0).integers(3, size=(20, 6)).astype(np.uint8)
    rewards = np.random.default_rng(1).random(20)
    biases = learner.controller.biases.detach().numpy()[-1].astype(float).copy()
    probabilities = _last_probabilities(learner, networks)

    advantages, baseline = [], rewards.mean()
    for reward in rewards:
        advantages.append(reward - baseline)
        baseline = 0.95 * baseline + 0.05 * reward
    chosen = np.eye(3)[networks[:, -1]]
    policy = np.array(advantages)[:, None] * (chosen - probabilities)
    logs = np.log(probabilities)
    spread = -probabilities * (logs - (probabilities * logs).sum(axis=1, keepdims=True))
    gradient = (policy + 0.01 * spread).sum(axis=0) / (20 * 6)

    learner.learn(networks, rewards)
    expected = biases + 0.002 * gradient / (np.abs(gradient) + 1e-8)
    assert learner.controller.biases.detach().numpy()[-1] == pytest.approx(expected, abs=1e-6)


def _last_probabilities(learner: Learner, networks: Any) -> Any:
    columns = []
    for value in range(3):
        rows = torch.tensor(networks.astype(np.int64))
        rows[:, -1] = value
        columns.append(learner.controller(rows)[0][:, -1].exp().detach().double().numpy())
    return np.stack(columns, axis=1)


def test_the_moving_average_of_rewards_goes_on_over_batches() -> None:
    learner = Learner(AMOUNTS, PpoSettings(units=2, batch=2, epochs=1), seed=0)
    assert learner._advantages(np.array([1.0, 3.0])) == pytest.approx([-1.0, 1.05])
    # 2 → 1.95 → 2.0025
    assert learner._advantages(np.array([2.0025, 0.0])) == pytest.approx([0.0, -2.0025])


def test_the_controller_settles_on_a_choice_that_is_rewarded() -> None:
    learner, rng = Learner(AMOUNTS, PpoSettings(), seed=0), np.random.default_rng(0)
    begin = (learner.controller.sample(2000, rng)[:, 4] == 1).mean()
    for _ in range(30):
        networks = learner.controller.sample(20, rng)
        learner.learn(networks, (networks[:, 4] == 1).astype(np.float64))
    drawn = learner.controller.sample(2000, rng)
    assert begin < 0.4
    assert (drawn[:, 4] == 1).mean() > 0.9


def test_it_learns_which_choices_go_together() -> None:
    """The reward is of two choices that are equal; each by itself is worth nothing."""
    settings = PpoSettings(learning_rate=3e-3)
    learner, rng = Learner((3, 3), settings, seed=0), np.random.default_rng(0)
    for _ in range(40):
        networks = learner.controller.sample(20, rng)
        learner.learn(networks, (networks[:, 0] == networks[:, 1]).astype(np.float64))
    drawn = learner.controller.sample(1000, rng)
    assert (drawn[:, 0] == drawn[:, 1]).mean() > 0.9


@pytest.fixture
def settings() -> PpoSettings:
    return PpoSettings(units=8, batch=5, epochs=3, learning_rate=0.01)


def test_a_new_process_learns_what_the_old_one_knew(
    problem: Problem, make_search: Any, settings: PpoSettings
) -> None:
    search = make_search(problem, pareto=False)
    old = PpoSampler(problem=problem, seed=0, settings=settings)
    untouched = _parameters(old)
    search.run(old, 43, pending=4)
    new = PpoSampler(problem=problem, seed=43, settings=settings)
    assert _equal(_parameters(new), untouched)
    search.run(new, 44)  # 43 are finished when it is asked
    search.run(old, 45)
    assert _equal(_parameters(new), _parameters(old))
    assert not _equal(_parameters(new), untouched)


def test_what_was_learned_is_not_learned_again(
    problem: Problem, make_search: Any, settings: PpoSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = []
    learn = Learner.learn

    def counted(self: Learner, networks: Any, rewards: Any) -> None:
        learned.append(networks)
        learn(self, networks, rewards)

    monkeypatch.setattr(ppo.Learner, "learn", counted)
    search = make_search(problem, pareto=False)
    rows = search.run(PpoSampler(problem=problem, seed=0, settings=settings), 61, pending=6)
    # In order of number, whatever the order in which they finished.
    assert len(learned) >= 8
    assert np.array_equal(np.concatenate(learned), rows[: 5 * len(learned)])


def test_trials_without_a_result_are_no_part_of_a_batch(
    problem: Problem, make_search: Any, settings: PpoSettings
) -> None:
    failing = make_search(problem, pareto=False, ends={3: TrialState.FAIL, 4: TrialState.PRUNED})
    sampler = PpoSampler(problem=problem, seed=0, settings=settings)
    rows = failing.run(sampler, 8)
    learner = Learner(AMOUNTS, settings, seed=0)
    learner.learn(rows[[0, 1, 2, 5, 6]], failing.rewards()[:5])
    assert _equal(_parameters(sampler), [*learner.controller.parameters()])


def test_a_batch_waits_for_a_trial_that_began_before_its_end(
    problem: Problem, make_search: Any, settings: PpoSettings
) -> None:
    search = make_search(problem, pareto=False)
    sampler = PpoSampler(problem=problem, seed=0, settings=settings)
    untouched = _parameters(sampler)
    search.run(sampler, 2)
    late = search.study.ask(search.distributions)
    search.run(sampler, 12)
    assert _equal(_parameters(sampler), untouched)
    search.tell(late)
    search.run(sampler, 13)
    assert not _equal(_parameters(sampler), untouched)


def test_another_study_is_learned_from_the_beginning(
    problem: Problem, make_history: Any, everything: Any, settings: PpoSettings
) -> None:
    used, new = (PpoSampler(problem=problem, seed=0, settings=settings) for _ in range(2))
    used.propose(make_history(everything[:20], np.linspace(0, 1, 20)))
    history = make_history(everything[30:47], np.linspace(1, 0, 17))
    new.propose(history)
    assert not _equal(_parameters(used), _parameters(new))
    used.propose(history)
    assert _equal(_parameters(used), _parameters(new))


def test_the_controllers_seed_is_not_that_of_the_draws(
    problem: Problem, settings: PpoSettings
) -> None:
    first, later, other = (
        PpoSampler(problem=problem, seed=seed, controller_seed=begin, settings=settings)
        for seed, begin in ((0, 5), (9, 5), (0, 6))
    )
    assert _equal(_parameters(first), _parameters(later))
    assert not _equal(_parameters(first), _parameters(other))


def test_torchs_generator_threads_and_gradients_are_left_alone(
    problem: Problem, make_search: Any, settings: PpoSettings
) -> None:
    torch.set_num_threads(2)
    try:
        generator = torch.get_rng_state()
        with torch.no_grad():
            make_search(problem, pareto=False).run(
                PpoSampler(problem=problem, seed=0, settings=settings), 12
            )
            assert not torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), generator)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"units": 0}, r"^sampler\.settings\.units must be an integer in 1\.\.10000, but got 0$"),
        ({"batch": 1.5}, r"^sampler\.settings\.batch must be an integer .* but got 1\.5$"),
        ({"epochs": "all"}, r"^sampler\.settings\.epochs must be an integer .* but got 'all'$"),
        ({"learning_rate": 0}, r"^sampler\.settings\.learning_rate must be a number in"),
        ({"clip": -0.2}, r"^sampler\.settings\.clip must be a number in .* but got -0\.2$"),
        ({"entropy": float("nan")}, r"^sampler\.settings\.entropy must be a number .* got nan$"),
        ({"baseline": 1.01}, r"^sampler\.settings\.baseline must be a number in 0\.\.1, but got"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(setting: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PpoSettings(**setting)
