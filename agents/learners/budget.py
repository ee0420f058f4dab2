"""Sizes of a training that fit the number of control steps it may take."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from agents.learners.algorithm import Algorithm

MIN_ROLLOUTS = 100
"""Updates that an on-policy learner needs. With 20,000 steps `ppo` on a TX2 costs 1.159 a step
(mean of two seeds, two scenarios, the oracle about 0.99) after 16 updates, 1.073 after 50, 1.064
after 100 and 1.053 after 200, which take a third longer."""
MIN_SWEEPS = 1000
"""Steps of all boards, with an update after each, that a learner with a replay buffer needs: `sac`
costs 1.096 after 312 and 1.041 after 1000 of them, in half as long again; 1.024 after 2000."""
LARGEST_START = 0.1
"""Share of the steps that may pass before such a learner begins to learn."""
SMALLEST_ROLLOUT = 2
"""Steps; the advantage of a single one cannot be normalised."""


def within(recipe: Algorithm, total_timesteps: int, given: Collection[str] = ()) -> Algorithm:
    """The recipe with no more boards than a budget has use for, and whole rollouts only.

    Fewer boards at once make more updates of the same number of steps. The result's
    `total_timesteps` is what it takes: the largest multiple of its rollout within the budget, or
    one rollout.

    Args:
        recipe: as it is for many steps.
        total_timesteps: of all boards, 1 or more.
        given: names of settings that a user chose, which stay as they are.
    """
    if rollout_steps(recipe) < 1:  # the agent says what is wrong with that
        return recipe
    fit = _on_policy if issubclass(recipe.agent_class, OnPolicyAlgorithm) else _off_policy
    n_boards, settings = fit(recipe, total_timesteps, given)
    rollout = rollout_steps(replace(recipe, n_envs=n_boards, settings=settings))
    n_rollouts = max(total_timesteps // rollout, 1)
    return replace(recipe, n_envs=n_boards, settings=settings, total_timesteps=n_rollouts * rollout)


def rollout_steps(recipe: Algorithm) -> int:
    """Steps of all boards between two updates."""
    key = "n_steps" if issubclass(recipe.agent_class, OnPolicyAlgorithm) else "train_freq"
    steps = setting(recipe, key)
    return recipe.n_envs * (steps if isinstance(steps, int) else 1)


def setting(recipe: Algorithm, name: str) -> Any:
    """A recipe's setting, or its agent's default; None where there is no such setting."""
    if name in recipe.settings:
        return recipe.settings[name]
    for parent in recipe.agent_class.__mro__:
        known = inspect.signature(parent).parameters if "__init__" in vars(parent) else {}
        if name in known:
            return known[name].default
    return None


def _on_policy(recipe: Algorithm, total: int, given: Collection[str]) -> tuple[int, dict[str, Any]]:
    n_steps, batch_size = (setting(recipe, name) for name in ("n_steps", "batch_size"))
    n_boards = recipe.n_envs
    if "n_envs" not in given:
        n_boards = min(max(total // (n_steps * MIN_ROLLOUTS), 1), n_boards)
    boards_per_batch = max((batch_size or n_steps) // n_steps, 1)
    if recipe.n_envs > n_boards > boards_per_batch:
        n_boards -= n_boards % boards_per_batch  # no batch that is smaller than the others
    sizes: dict[str, Any] = {}
    if "n_steps" not in given:
        n_steps = max(min(n_steps, total // n_boards), -(-SMALLEST_ROLLOUT // n_boards))
        sizes["n_steps"] = n_steps
    if batch_size and "batch_size" not in given:
        sizes["batch_size"] = min(batch_size, n_boards * n_steps)
    return n_boards, {**recipe.settings, **sizes}


def _off_policy(
    recipe: Algorithm, total: int, given: Collection[str]
) -> tuple[int, dict[str, Any]]:
    n_boards = recipe.n_envs
    if "n_envs" not in given:
        n_boards = min(max(total // MIN_SWEEPS, 1), n_boards)
    settings = dict(recipe.settings)
    if "learning_starts" in settings and "learning_starts" not in given:
        settings["learning_starts"] = min(settings["learning_starts"], int(LARGEST_START * total))
    if (
        "target_update_interval" in settings and "target_update_interval" not in given
    ):  # counted in steps of all boards
        per_sweep = settings["target_update_interval"] / recipe.n_envs
        settings["target_update_interval"] = max(round(per_sweep * n_boards), 1)
    return n_boards, settings
