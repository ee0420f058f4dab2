"""Learning on a board by a policy that begins with nothing."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agents.deciders.base import axis_sizes
from agents.deciders.static import Static
from agents.deployed.board_decider import one_board
from agents.errors import AgentError
from agents.learners.algorithm import Algorithm
from agents.learning.export import set_threads
from agents.policy.frozen import FrozenPolicy
from agents.testbed import recipes
from agents.testbed.checkpoints import taken_up
from agents.testbed.comparison import compare, report
from agents.testbed.recipes import live_agent, safe_env
from agents.training.checkpoints import AGENT_WEIGHTS, save_whole
from envs.edge_env import EdgeSplitEnv

TRUSTED = "with the highest clocks on the board alone"


def learn(
    env: EdgeSplitEnv, name: str, recipe: Algorithm, run_dir: Path, n_steps: int, seed: int
) -> tuple[FrozenPolicy, str]:
    """Learn on a board; goes on where a run that was killed had come to.

    The agent may choose any action, but for a hot board's clocks (`SafeEnv`). After a step in which
    too many requests came late the highest clocks and the board alone serve what waits.

    Args:
        env: of the board.
        name: of the algorithm.
        recipe: of `live_recipe`.
        run_dir: for checkpoints.
        n_steps: control steps in all.
        seed: of everything random.

    Returns:
        The policy, and in one line how it compares with those highest clocks.

    Raises:
        AgentError: the checkpoint is damaged, or what was learned cannot be frozen.
    """
    set_threads()
    trusted = Static(tuple(size - 1 for size in axis_sizes(env.plant.layout)))
    agent = live_agent(recipe, safe_env(env, recipe, trusted, reach=None), seed, run_dir)
    is_new = not taken_up(agent, run_dir, seed)
    recipes.learn(agent, name, n_steps, run_dir, is_new=is_new, ent_coef=recipe.ent_coef)
    policy = recipe.freeze(agent, recipe.describe(name, env.plant.layout))
    if not isinstance(policy, FrozenPolicy):
        raise AgentError(
            f"{name} makes no network that decides by itself; leave --from-scratch out"
        )
    save_whole(agent, run_dir / AGENT_WEIGHTS)
    blocks = compare(env, partial(one_board, trusted), partial(one_board, policy))
    said = report(blocks, run_dir, names=(TRUSTED, "with the policy"))
    if not blocks["after"].cost < blocks["before"].cost:
        said += (
            "\nwarning: it costs more than the highest clocks on the board alone; learn longer "
            "(--total-timesteps), or begin with a device file (--device)"
        )
    return policy, said
