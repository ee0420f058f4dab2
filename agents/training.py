"""Learn a policy in simulation and freeze it; what `train.py` and the benchmark have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn

from agents.algorithms import UNLIKE, Algorithm, algorithm
from agents.callbacks import EntropyDecay
from agents.deciders.advised import pack
from agents.deciders.base import Decider
from agents.deciders.fitted import Fitted
from agents.deciders.known import Known
from agents.deciders.learned import Learned
from agents.deciders.partly_governed import PartlyGoverned
from agents.deciders.portfolio import collect_states, complementary
from agents.deciders.rules import Rule
from agents.export import freeze, set_threads
from agents.learners.full_information import FullInformation, Settings
from agents.learners.imitation import Imitation, Lessons
from agents.policy import FrozenPolicy, PolicyMetadata
from agents.seeds import search_seeds
from envs.fleet import World
from envs.vec_env import EdgeSplitVecEnv

N_ACTIONS = 48
"""Of an advised policy; so many cost hardly more than all."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training run ends with.

    Attributes:
        agent: of Stable-Baselines3.
        policy: frozen.
        steps: control steps of all simulated boards.
    """

    agent: BaseAlgorithm
    policy: FrozenPolicy
    steps: int


Watchers = Callable[[EdgeSplitVecEnv, PolicyMetadata], Sequence[BaseCallback]]


def train(
    name: str,
    world: World,
    seed: int,
    *,
    total_timesteps: int | None = None,
    log_dir: Path | None = None,
    watchers: Watchers = lambda *_: (),
    report: Callable[[str], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> Trained:
    """Learn by imitation, if the algorithm does, then by reinforcement, and freeze the policy.

    Args:
        name: of the algorithm.
        world: to learn in.
        seed: of everything random.
        total_timesteps: of reinforcement learning; the algorithm's own number if not given.
        log_dir: for TensorBoard.
        watchers: make callbacks for the boards and the policy to be.
        report: called with a line of progress.
        checkpoint: saved agent to go on with; what an off-policy agent remembered is lost.

    Raises:
        AgentError: unknown algorithm, or a policy that cannot be frozen.
    """
    set_threads()
    recipe = algorithm(name)
    imagined = recipe.imagine(world)
    boards = recipe.boards(imagined)
    if checkpoint:
        agent = recipe.load(checkpoint, boards, seed)
        steps = recipe.lessons.n_steps(imagined) if recipe.lessons else 0
    else:
        agent = recipe.build(boards, seed, str(log_dir) if log_dir else None)
        steps = imitate(agent, imagined, seed, recipe.lessons, report) if recipe.lessons else 0
    metadata = recipe.describe(name, world.layout)
    callbacks = [*watchers(boards, metadata), *_schedules(recipe)]
    total = recipe.total_timesteps if total_timesteps is None else total_timesteps
    left = max(total - agent.num_timesteps, 0)
    agent.learn(left, callback=callbacks, tb_log_name=name, reset_num_timesteps=not checkpoint)
    return Trained(agent, freeze(agent, metadata), steps + agent.num_timesteps)


def imitate(
    agent: BaseAlgorithm, world: World, seed: int, lessons: Lessons, report: Callable[[str], None]
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


def fit_learned(name: str, world: World, seed: int) -> Fitted:
    """Train with the default settings, for the registry of deciders."""
    trained = train(name, world, seed)
    decider = simulated_decider(trained.policy, world)
    return Fitted(decider, fit_steps=trained.steps)


def fit_advised(
    world: World,
    seed: int,
    settings: Settings | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Fitted:
    """Choose a portfolio and learn to correct the nominal model's advice on it.

    Args:
        world: to learn in.
        seed: of everything random.
        settings: of the learner; its own if not given.
        report: called with a line of progress.
    """
    set_threads()
    known, states = Known.of(world), collect_states(world, search_seeds(seed))
    actions = complementary(known, states, N_ACTIONS)
    imagined = replace(world.as_believed(), randomisation=UNLIKE)
    learner = FullInformation(imagined, actions, seed, settings or Settings())
    steps = learner.run(report)
    rule = Rule("advised", {"actions": actions.tolist(), "layers": pack(learner.layers())})
    return Fitted(rule.build(known), fit_steps=steps, rule=rule)


def simulated_decider(policy: FrozenPolicy, world: World) -> Decider:
    """A frozen policy on simulated boards, whose governors have to be modelled."""
    learned = Learned(policy)
    governed = policy.metadata.governed
    return PartlyGoverned(learned, Known.of(world), governed) if governed else learned


def _schedules(recipe: Algorithm) -> list[BaseCallback]:
    return [] if recipe.ent_coef is None else [EntropyDecay(recipe.ent_coef)]
