"""Recipes of learners for one board in wall-clock time, and agents made by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.deciders.base import Decider
from agents.errors import AgentError
from agents.learners.algorithm import Algorithm
from agents.learners.off_policy import FactoredOffPolicy
from agents.learning.action_codes import code_of
from agents.learning.board_scalars import BoardScalars
from agents.learning.safe_env import SafeEnv
from agents.learning.transitions import TransitionBuffer
from agents.testbed.checkpoints import LiveCheckpoints, LiveProgress
from agents.training.algorithms import algorithm
from agents.training.callbacks import EntropyDecay
from agents.training.hyperparams import Hyperparams, with_hyperparams
from agents.training.learn import TENSORBOARD
from envs.edge_env import EdgeSplitEnv

LARGEST_BUFFER = 50_000
"""Transitions, 10 MB: three and a half hours of a board."""
_ON_POLICY: dict[str, Any] = {
    "learning_rate": 1e-3,
    "n_steps": 64,
    "batch_size": 64,
    "n_epochs": 10,
    "gamma": 0.0,
}
"""An update every 16 s; of so few steps none is to be thrown away after one pass."""
_ENTROPY = 0.01
"""Of `ppo`. On the virtual board of `benchmarks.testbed_curve` the last three of ten minutes cost
0.962 a step with 0.05, which is for many boards, 0.926 with 0.01 and 0.944 with 0.003 (one seed;
the best fixed action 0.90)."""
_OFF_POLICY: dict[str, Any] = {
    "learning_rate": 1e-3,
    "batch_size": 128,
    "train_freq": 1,
    "gradient_steps": 2,
    "learning_starts": 100,
}
"""Two updates after each step: more would make the next step late on a slow processor."""


def live_recipe(name: str, n_steps: int, given: Hyperparams) -> Algorithm:
    """The recipe of a learner, with settings for a board that cannot be hurried.

    Args:
        name: of the algorithm.
        n_steps: that it is to remember.
        given: settings that a user chose.

    Raises:
        AgentError: it is unknown, needs a simulation to learn in, or has no such setting.
    """
    recipe = algorithm(name)
    if recipe.wrapper or recipe.governed:
        raise AgentError(
            f"{name} learns in simulation only; take ppo, sac, dqn or dvfo, or leave "
            f"--from-scratch out"
        )
    settings = dict(recipe.settings)
    if issubclass(recipe.agent_class, OnPolicyAlgorithm):
        settings |= _ON_POLICY
        recipe = replace(recipe, ent_coef=recipe.ent_coef and _ENTROPY)
    else:
        settings |= {**_OFF_POLICY, "buffer_size": min(n_steps, LARGEST_BUFFER)}
        if "target_update_interval" in settings:  # counted in steps of all boards
            settings["target_update_interval"] = 1
        if not issubclass(recipe.agent_class, FactoredOffPolicy):  # those have it anyway
            settings["replay_buffer_class"] = TransitionBuffer
            settings["replay_buffer_kwargs"] = {"gamma": settings["gamma"]}
    live = replace(recipe, n_envs=1, settings=settings, total_timesteps=n_steps)
    return with_hyperparams(name, live, given)


def safe_env(
    env: EdgeSplitEnv, recipe: Algorithm, trusted: Decider, *, reach: int | None
) -> SafeEnv:
    """The board as an agent of a recipe acts on it; arguments as of `SafeEnv`."""
    table = recipe.table(env.plant.layout) if recipe.table else None
    code = code_of(recipe.head, env.decoder, table)
    return SafeEnv(env, trusted, reach=reach, code=code)


def live_agent(recipe: Algorithm, safe: SafeEnv, seed: int, run_dir: Path) -> BaseAlgorithm:
    """An agent that knows nothing, on one board."""
    board = safe.env
    if not isinstance(board, EdgeSplitEnv):
        raise TypeError(f"a live agent needs a board, got {type(board).__name__}")
    boards = DummyVecEnv([lambda: Monitor(safe)])
    return recipe.agent(boards, board.encoder.fields, seed, str(run_dir / TENSORBOARD))


def learn(
    agent: BaseAlgorithm,
    name: str,
    n_steps: int,
    run_dir: Path,
    *,
    is_new: bool,
    ent_coef: float | None = None,
) -> None:
    """Let an agent learn on its board, watched.

    Args:
        agent: on one board.
        name: of what is logged.
        n_steps: that it is to have taken in the end.
        run_dir: for checkpoints.
        is_new: whether it begins, rather than going on from a checkpoint.
        ent_coef: entropy bonus at the beginning, falling to zero; None leaves it to the agent.
    """
    progress = LiveProgress()
    watching = [LiveCheckpoints(run_dir), BoardScalars(), progress]
    falling = [] if ent_coef is None else [EntropyDecay(ent_coef)]
    left = max(n_steps - agent.num_timesteps, 0)
    try:
        agent.learn(
            left, callback=[*watching, *falling], tb_log_name=name, reset_num_timesteps=is_new
        )
    finally:
        progress.close()
