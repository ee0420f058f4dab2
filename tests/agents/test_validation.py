"""The best validated policy is kept, whatever training makes of it afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from stable_baselines3.common.callbacks import BaseCallback

from agents.deciders.static import Random
from agents.errors import RunFolderError
from agents.training import validation
from agents.training.algorithms import ALGORITHMS
from agents.training.checkpoints import CHECKPOINT, save_whole
from agents.training.learn import train
from agents.training.validation import BEST, Validation
from envs.scenarios.episodes import EpisodeConditions, picked
from envs.sim.build import build_sim_config

TOTAL = 800
PARTS = 4


class Ruin(BaseCallback):
    """Replaces all weights by noise after so many steps."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self.weights: list[np.ndarray] = []

    def _on_step(self) -> bool:
        if self.num_timesteps == self._at:
            with torch.no_grad():
                for parameter in self.model.policy.parameters():
                    parameter.copy_(50.0 * torch.randn(parameter.shape))
        return True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    recipe = ALGORITHMS["ppo"]
    monkeypatch.setitem(ALGORITHMS, "ppo", replace(recipe, n_envs=4))
    monkeypatch.setattr(validation, "N_VALIDATIONS", PARTS)
    monkeypatch.setattr(validation, "N_EPISODES", 4)


def learn(world, run_dir=None, *more, checkpoint=None):
    """Train; returns the result, what was told, and the validation."""
    told, kept = [], []

    def watchers(_boards, validation):
        kept.append(validation)
        return more

    trained = train(
        "ppo",
        world,
        0,
        total_timesteps=TOTAL,
        run_dir=run_dir,
        watchers=watchers,
        report=told.append,
        checkpoint=checkpoint,
    )
    return trained, told, kept[0]


def test_what_ruins_the_agent_does_not_reach_the_policy(calm):
    ruined_at = TOTAL // 2 + 10
    trained, told, found = learn(calm, None, Ruin(ruined_at))
    assert found.n_done == PARTS + 1
    assert found.best_step < ruined_at < found.last.step == TOTAL
    assert found.best_cost < found.last.cost
    assert f"kept the policy of step {found.best_step:,} of {TOTAL}" in told[-1]
    assert max(float(np.abs(weight).max()) for weight, _ in trained.policy.weights) < 10.0
    again = validation.run_episodes(found.world, trained.policy, found.seeds)
    assert float(again.cost.mean()) == pytest.approx(found.best_cost)
    largest = max(float(p.detach().abs().max()) for p in trained.agent.policy.parameters())
    assert largest < 10.0  # the agent that is saved is the best one, too


def test_the_best_policy_outlives_a_run_that_was_cut(calm, tmp_path):
    _, _, first = learn(calm, tmp_path)
    assert (tmp_path / BEST).is_file()
    found = Validation(calm, lambda _: Random(0), tmp_path)
    found.take_up()
    assert (found.best_cost, found.best_step) == (first.best_cost, first.best_step)
    weights = {name: t.clone() for name, t in found._weights.items()}
    assert weights.keys() == first._weights.keys()
    assert all(torch.equal(weights[name], first._weights[name]) for name in weights)


def test_a_run_that_goes_on_freezes_the_best_policy_from_before_the_cut(calm, tmp_path):
    first, _, before = learn(calm, tmp_path)
    best = [(weight.copy(), bias.copy()) for weight, bias in first.policy.weights]
    with torch.no_grad():
        for parameter in first.agent.policy.parameters():
            parameter.copy_(50.0 * torch.randn(parameter.shape))
    first.agent.num_timesteps = TOTAL - 40
    save_whole(first.agent, tmp_path / CHECKPOINT)
    again, _, after = learn(calm, tmp_path, checkpoint=tmp_path / CHECKPOINT)
    assert after.last.cost > after.best_cost == before.best_cost
    for (weight, bias), (kept, kept_bias) in zip(again.policy.weights, best, strict=True):
        np.testing.assert_array_equal(weight, kept)
        np.testing.assert_array_equal(bias, kept_bias)


def test_every_scenario_is_validated_equally_often(tiny):
    worlds = [build_sim_config("tx2", tiny, names) for names in (["all"], ["lte-driving"])]
    for world in worlds:
        seeds = validation._seeds(len(world.scenarios))
        counts = np.bincount([picked(seed, len(world.scenarios)) for seed in seeds])
        assert len(counts) == len(world.scenarios)
        assert set(counts) == {-(-validation.N_EPISODES // len(world.scenarios))}
        names = EpisodeConditions(world.scenarios, seeds, 2, world.step_s)._groups
        assert [len(boards) for _, boards in names] == counts.tolist()


def test_validation_happens_once_in_each_part_and_after_a_resume_once_more(calm):
    steps = []

    class Watch(BaseCallback):
        def __init__(self, found: Validation) -> None:
            super().__init__()
            self._found, self._n = found, 0

        def _on_step(self) -> bool:
            if self._found.n_done > self._n:
                self._n = self._found.n_done
                steps.append(self.num_timesteps)
            return True

    recipe = replace(ALGORITHMS["ppo"], n_envs=1)
    agent = recipe.build(recipe.boards(calm), 0, None)
    found = Validation(calm, lambda _: Random(0))
    agent.learn(100, callback=[found, Watch(found)])
    assert steps == [1, 25, 50, 75]
    steps.clear()
    agent.learn(100, callback=[found, Watch(found)], reset_num_timesteps=False)
    assert steps == [101, 150]


def test_episodes_are_the_same_every_time_and_differ_from_each_other(calm):
    first, again = (Validation(calm, lambda _: Random(0)).seeds for _ in range(2))
    assert first.tolist() == again.tolist()
    assert len(set(first.tolist())) == len(first)


def test_damaged_or_foreign_weights_are_refused(calm, tmp_path):
    (tmp_path / BEST).write_bytes(b"nonsense")
    found = Validation(calm, lambda _: Random(0), tmp_path)
    with pytest.raises(RunFolderError, match=r"best.safetensors is damaged"):
        found.take_up()
    save_file({"a": torch.zeros(3)}, tmp_path / BEST, {"best": '{"cost": 1.0, "step": 3}'})
    found.take_up()
    recipe = replace(ALGORITHMS["ppo"], n_envs=1)
    with pytest.raises(RunFolderError, match="is of another agent"):
        found.put_back(recipe.build(recipe.boards(calm), 0, None))
