"""Every learner trains within the number of steps it is given, at rates that are never negative."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial

import pytest
from stable_baselines3 import A2C, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback

from agents.advised.full_information import advise
from agents.learners.algorithm import linear_to_zero
from agents.learners.budget import SMALLEST_ROLLOUT, rollout_steps, within
from agents.learners.imitation import ImitationConfig
from agents.training.algorithms import ABLATIONS, ALGORITHMS
from agents.training.hyperparams import with_hyperparams
from agents.training.learn import train

LEARNERS = ALGORITHMS | ABLATIONS
BUDGETS = (1, 2, 99, 100, 5_000, 9_599, 9_600, 20_000, 123_457, 1_000_000)


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("budget", BUDGETS)
def test_rollouts_are_whole_and_fill_the_budget(name, budget):
    fitted = within(LEARNERS[name], budget)
    rollout = rollout_steps(fitted)
    assert rollout == fitted.n_envs * fitted.settings.get("n_steps", 1)
    assert fitted.total_timesteps % rollout == 0
    assert fitted.total_timesteps <= max(budget, SMALLEST_ROLLOUT)
    assert budget - fitted.total_timesteps < rollout
    if "batch_size" in fitted.settings and "n_steps" in fitted.settings:
        assert rollout % fitted.settings["batch_size"] == 0


@pytest.mark.parametrize("name", LEARNERS)
def test_a_default_run_is_as_the_recipe_says(name):
    recipe = LEARNERS[name]
    assert within(recipe, recipe.total_timesteps) == recipe


@pytest.mark.parametrize(
    ("agent", "budget", "n_boards"), [(PPO, 20_000, 1), (A2C, 3, 1), (SAC, 20_000, 4)]
)
def test_a_recipe_that_leaves_sizes_to_its_agent_is_kept_within_its_budget_too(
    agent, budget, n_boards
):
    bare = replace(ALGORITHMS["ppo"], agent_class=agent, settings={}, n_envs=4)
    fitted = within(bare, budget)
    assert fitted.n_envs == n_boards
    assert 0 <= budget - fitted.total_timesteps < rollout_steps(fitted)


def test_few_steps_mean_few_boards_and_an_early_start():
    ppo, sac = (within(ALGORITHMS[name], 20_000) for name in ("ppo", "sac"))
    assert (ppo.n_envs, ppo.settings["batch_size"], ppo.total_timesteps) == (20, 200, 20_000)
    assert (sac.n_envs, sac.settings["learning_starts"]) == (20, 2000)
    assert within(ALGORITHMS["dqn"], 20_000).settings["target_update_interval"] == 20


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("ppo", {"n_envs": 64}),
        ("ppo", {"n_envs": 8, "n_steps": 256, "batch_size": 100}),
        ("sac", {"n_envs": 960, "learning_starts": 5000}),
        ("dqn", {"target_update_interval": 3}),
    ],
)
def test_what_a_user_chose_stays(name, given):
    recipe = with_hyperparams(name, ALGORITHMS[name], given)
    fitted = within(recipe, 20_000, given)
    assert {key: fitted.settings.get(key, fitted.n_envs) for key in given} == given
    assert fitted.total_timesteps % rollout_steps(fitted) == 0


class Rates(BaseCallback):
    """Learning rates of all optimisers and the entropy bonus, whenever experience is gathered."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def _on_rollout_start(self) -> None:
        schedule = self.model.lr_schedule
        self.seen.append(schedule(self.model._current_progress_remaining))

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self._on_rollout_start()


@pytest.fixture
def quick(monkeypatch, request):
    """The learner with few lessons and few actions to choose from."""
    recipe = LEARNERS[request.param]
    few = {"wrapper": partial(advise, n_actions=4)} if recipe.wrapper is advise else {}
    lessons = recipe.lessons and ImitationConfig(n_rounds=1, n_boards=2, batch_size=64)
    where = ALGORITHMS if request.param in ALGORITHMS else ABLATIONS
    monkeypatch.setitem(where, request.param, replace(recipe, lessons=lessons, **few))
    monkeypatch.setattr("agents.training.validation.N_EPISODES", 2)
    monkeypatch.setattr("agents.training.validation.N_VALIDATIONS", 2)
    return request.param


@pytest.mark.parametrize("quick", LEARNERS, indirect=True)
@pytest.mark.parametrize("budget", [1, 100])
def test_a_few_steps_are_taken_and_no_more(quick, budget, small_world):
    rates, told = Rates(), []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained = train(
            quick,
            small_world,
            0,
            total_timesteps=budget,
            watchers=lambda *_: [rates],
            report=told.append,
        )
    steps = trained.agent.num_timesteps
    assert steps <= max(budget, SMALLEST_ROLLOUT)
    assert f"for {steps:,} steps" in told[0]
    assert (f"of {budget:,}: an update takes" in told[0]) == (steps != budget)
    assert min(rates.seen) >= 0.0
    assert trained.policy.algorithm == quick


def test_a_rate_that_has_fallen_to_zero_stays_there():
    schedule = linear_to_zero(2e-3)
    assert [schedule(left) for left in (1.0, 0.5, 0.0, -0.4)] == [2e-3, 1e-3, 0.0, 0.0]
