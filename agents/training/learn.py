"""Training in simulation up to the frozen policy, shared by `train.py` and the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from agents.deciders.base import Decider
from agents.deciders.fitted import FittedDecider
from agents.deciders.nominal import NominalModel
from agents.deciders.under_governors import UnderGovernors
from agents.errors import AgentError
from agents.learners.algorithm import Algorithm
from agents.learners.budget import rollout_steps, within
from agents.learners.imitation import Imitation, ImitationConfig
from agents.learning.export import set_threads
from agents.policy.folder import Policy
from agents.policy.metadata import PolicyMetadata
from agents.training.algorithms import algorithm
from agents.training.callbacks import EntropyDecay
from agents.training.checkpoints import go_on
from agents.training.hyperparams import Hyperparams, with_hyperparams
from agents.training.validation import Validation
from envs.sim.sim_config import SimConfig
from envs.vec_env import EdgeSplitVecEnv

TENSORBOARD = "tensorboard"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run ends with.

    Attributes:
        agent: of Stable-Baselines3.
        policy: what drives a board.
        steps: control steps of all simulated boards.
    """

    agent: BaseAlgorithm
    policy: Policy
    steps: int


Watchers = Callable[[EdgeSplitVecEnv, Validation], Sequence[BaseCallback]]


def train(
    name: str,
    world: SimConfig,
    seed: int,
    *,
    total_timesteps: int | None = None,
    run_dir: Path | None = None,
    watchers: Watchers = lambda *_: (),
    report: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
    hyperparams: Hyperparams | None = None,
) -> TrainingResult:
    """Learn by imitation, if the algorithm does, then by reinforcement, and freeze the policy.

    What is frozen is the policy that did best on the validation episodes, not the last one.

    Args:
        name: of the algorithm.
        world: to learn in.
        seed: of everything random.
        total_timesteps: of reinforcement learning, no more are taken; the algorithm's own number
            if not given.
        run_dir: for TensorBoard and the best policy so far.
        watchers: make callbacks for the boards, and their validation.
        report: called with a line of progress.
        checkpoint: saved agent to go on with; what an off-policy agent remembered is lost.
        hyperparams: settings of the algorithm that differ from what it ships with.

    Raises:
        AgentError: unknown algorithm or setting, a checkpoint that is damaged, or a policy that
            cannot be frozen.
    """
    set_threads()
    recipe = with_hyperparams(name, algorithm(name), hyperparams or {})
    asked = recipe.total_timesteps if total_timesteps is None else total_timesteps
    recipe = within(recipe, asked, (hyperparams or {}).keys())
    imagined = recipe.imagine(world)
    boards = recipe.boards(imagined)
    logs = str(run_dir / TENSORBOARD) if run_dir else None
    try:
        agent, metadata = recipe.build(boards, seed, logs), recipe.describe(name, world.layout)
    except (AssertionError, TypeError, ValueError) as error:
        if not hyperparams:
            raise
        raise AgentError(f"{name} cannot be built with {dict(hyperparams)}: {error}") from None
    validation = Validation(imagined, partial(_decides, recipe, metadata, imagined), run_dir)
    report(_plan(recipe, imagined, asked))
    if checkpoint:
        go_on(agent, checkpoint, seed)
        validation.take_up()
        steps = recipe.lessons.n_steps(imagined) if recipe.lessons else 0
    else:
        steps = imitate(agent, imagined, seed, recipe.lessons, report) if recipe.lessons else 0
    callbacks = [validation, *watchers(boards, validation), *_schedules(recipe)]
    left = max(recipe.total_timesteps - agent.num_timesteps, 0)
    agent.learn(left, callback=callbacks, tb_log_name=name, reset_num_timesteps=not checkpoint)
    report(validation.line())
    validation.put_back(agent)
    return TrainingResult(agent, recipe.freeze(agent, metadata), steps + agent.num_timesteps)


def _decides(
    recipe: Algorithm, metadata: PolicyMetadata, world: SimConfig, agent: BaseAlgorithm
) -> Decider:
    """What the agent would decide now, on simulated boards."""
    decider = recipe.decider(agent, metadata, world)
    governing = metadata.governing
    return UnderGovernors(decider, governing) if governing else decider


def _plan(recipe: Algorithm, world: SimConfig, asked: int) -> str:
    """Steps that a training will take, in one line, and why they are not those asked for."""
    total = recipe.total_timesteps
    line = f"training on {recipe.n_envs} simulated boards for {total:,} steps"
    if total != asked:
        line += f" of {asked:,}: an update takes {rollout_steps(recipe):,}"
    if recipe.lessons:
        line += f", after {recipe.lessons.n_steps(world):,} of imitation"
    return line


def imitate(
    agent: BaseAlgorithm,
    world: SimConfig,
    seed: int,
    lessons: ImitationConfig,
    report: Callable[[str], None],
) -> int:
    """Teach an actor-critic agent the cheapest action of each state.

    Returns:
        Control steps of all boards.
    """
    policy = agent.policy
    if not isinstance(policy, ActorCriticPolicy):
        raise TypeError(f"{type(policy).__name__} has no network to teach")
    actor = nn.Sequential(policy.mlp_extractor.policy_net, policy.action_net)
    critic = nn.Sequential(policy.mlp_extractor.value_net, policy.value_net)
    imitation = Imitation(world, actor, critic, seed, lessons)
    return imitation.run(lambda loss: report(f"imitating the optimum, loss {loss:.2f}"))


def fit_learned(
    name: str, world: SimConfig, seed: int, total_timesteps: int | None = None
) -> FittedDecider:
    """Train with the default settings, for `agents.training.all_deciders`; see `train`."""
    trained = train(name, world, seed, total_timesteps=total_timesteps)
    return FittedDecider(simulated_decider(trained.policy, world), fit_steps=trained.steps)


def simulated_decider(policy: Policy, world: SimConfig) -> Decider:
    """A policy on simulated boards, whose governors have to be modelled."""
    decider = policy.decider(lambda: NominalModel.of(world))
    governing = policy.governing
    return UnderGovernors(decider, governing) if governing else decider


def _schedules(recipe: Algorithm) -> list[BaseCallback]:
    return [] if recipe.ent_coef is None else [EntropyDecay(recipe.ent_coef)]
