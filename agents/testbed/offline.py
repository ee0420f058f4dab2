"""Learning from the log of a deployed policy, without a board: `train.py --init RUN --log FILE`.

A deployed policy does not explore, so that its log says what its own actions cost, and nothing of
others. Both learners stay near it for that reason, as far as the log does not speak against it:
DVFO's branching network is held to the policy's advantages by a penalty (behaviour regularisation,
Wu et al. 2019, arXiv 1911.11361), with simulated transitions that stray in its memory; `advised`
charges what its models did not expect to features of the actions, with a prior that holds it at
none. SAC and DQN would trust values of actions that were never tried, and do not learn from logs.

The last fifth of the log judges: if what was learned does not foretell its costs better than the
policy from before, that one is kept.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agents.advised.policy import LARGEST_OFFSET, Advised
from agents.advised.residuals import Residuals
from agents.advised.rule import ADVISED, own_policy
from agents.deciders.nominal import NominalModel
from agents.deployed.run_folder import RunFolder
from agents.deployed.transition_log import LoggedSteps, read_log
from agents.errors import AgentError
from agents.learners.branching import BranchingDQN
from agents.learning.action_codes import IndexCode
from agents.learning.export import set_threads
from agents.learning.space_env import SpaceEnv
from agents.policy.folder import Policy
from agents.policy.frozen import FrozenPolicy
from agents.testbed.tune import (
    N_REHEARSALS,
    N_SIMULATED,
    keep,
    remember_simulation,
    scores_axes,
    warm_start,
)
from agents.training.algorithms import ALGORITHMS
from agents.training.run import make_run_dir
from envs.arrays import Floats
from envs.edge_env import action_space, observation_space
from envs.objective import SMALLEST_COST
from envs.plant import Plant
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig

JUDGING_SHARE = 0.2
MIN_STEPS = 400
"""A hundred seconds; fewer say less than chance does."""
UPDATES_PER_STEP = 1
MAX_UPDATES = 20_000


@dataclass(frozen=True, slots=True)
class Learned:
    """What came of a log.

    Attributes:
        policy: that was learned.
        error_before: spread of the errors by which log cost was foretold in the last fifth, by what
            was known before.
        error_after: by what was learned.
    """

    policy: Policy
    error_before: float
    error_after: float


def learn_from_log(run: Path, run_dir: Path, log: Path, scenario: str, seed: int) -> str:
    """Learn from a log, and leave a run folder that deploys.

    Args:
        run: finished run that was deployed.
        run_dir: for the result; new.
        log: that `deploy.py --log` wrote.
        scenario: that it was deployed in, name or TOML file.
        seed: of everything random.

    Returns:
        What came of it, in a few lines.

    Raises:
        AgentError: the run, its policy, or the log.
        EnvError: the scenario.
    """
    source = RunFolder.load(run)
    policy = source.policy
    is_network = isinstance(policy, FrozenPolicy) and scores_axes(policy)
    if not is_network and policy.kind != ADVISED.name:
        raise AgentError(
            f"{run} holds a policy of {policy.algorithm}, which does not learn from logs; give a "
            f"run of advised, amortised, ppo or dvfo"
        )
    steps = read_log(log, policy.layout)
    n = int(steps.counts.sum())
    if n < MIN_STEPS:
        raise AgentError(
            f"{log} holds {n} steps to learn from (measured, and with the clocks that were asked "
            f"for), at least {MIN_STEPS} are needed; deploy longer with --log {log}"
        )
    make_run_dir(run_dir)
    world = source.world(source.model, scenario)
    learned = (
        _from_network(policy, world, steps, seed)
        if is_network
        else _from_rule(policy, world, steps)
    )
    helps = learned.error_after < learned.error_before
    keep(source, learned.policy if helps else None, run_dir)
    damaged = f", {steps.n_damaged} lines damaged" if steps.n_damaged else ""
    verdict = (
        "what was learned is kept; only a board can tell whether it costs less"
        if helps
        else "no gain: the policy from before is kept"
    )
    return (
        f"{n:,} steps of {len(steps.costs):,} learned from{damaged}; log cost of the last fifth "
        f"foretold to {learned.error_before:.3f} before, to {learned.error_after:.3f} now\n"
        f"{verdict}"
    )


def _parts(n: int) -> tuple[slice, slice]:
    """Steps that are learned from, and later ones that judge."""
    end = n - int(JUDGING_SHARE * n)
    return slice(0, end), slice(end, n)


def _spread(errors: Floats) -> float:
    """Root mean square of errors around their mean, which no action changes."""
    return float(errors.std())


def _from_network(policy: Any, world: SimConfig, steps: LoggedSteps, seed: int) -> Learned:
    """Rehearse simulated transitions and logged ones together."""
    set_threads()
    decoder, encoder = policy.decoder, policy.encoder
    blank = SpaceEnv(observation_space(encoder), action_space(decoder, continuous=False))
    agent = warm_start(blank, policy, seed)
    memory = agent.replay_buffer
    if memory is None:
        raise TypeError("an agent that is warm has a replay buffer")
    agent.anchor = copy.deepcopy(agent.policy.q_net)
    remember_simulation(agent, world, policy, seed, IndexCode(decoder.sizes.tolist()))
    agent.rehearse(N_REHEARSALS)
    at = np.flatnonzero(steps.counts)
    train, judge = (at[part] for part in _parts(len(at)))
    rewards = -np.log(np.maximum(steps.costs, SMALLEST_COST))
    before = _value_errors(agent, steps, rewards, judge)
    for i in train[-(memory.buffer_size - N_SIMULATED) :]:
        row = (steps.observations[i : i + 1], steps.observations[i : i + 1])
        memory.add(*row, steps.actions[i : i + 1], rewards[i : i + 1], np.zeros(1), [{}])
    agent.rehearse(min(N_REHEARSALS + UPDATES_PER_STEP * len(train), MAX_UPDATES))
    after = _value_errors(agent, steps, rewards, judge)
    recipe = ALGORITHMS["dvfo"]
    frozen = recipe.freeze(agent, recipe.describe(policy.algorithm, policy.layout))
    return Learned(frozen, _spread(before), _spread(after))


def _value_errors(
    agent: BranchingDQN, steps: LoggedSteps, rewards: Floats, at: NDArray[np.int64]
) -> Floats:
    """What the values of what was done differ from what came of it."""
    offsets = agent.choices.offsets
    with torch.no_grad():
        picks = torch.from_numpy(steps.actions[at]) + offsets
        worth = agent.policy.q_net.total(torch.from_numpy(steps.observations[at]), picks)
    errors: Floats = worth[:, 0].numpy().astype(np.float64) - rewards[at]
    return errors


def _from_rule(policy: Any, world: SimConfig, steps: LoggedSteps) -> Learned:
    """Charge what `advised` did not expect to features of its actions."""
    known = NominalModel.of(world)
    decider = own_policy(known, policy.rule.parameters)
    numbers, surprises = _surprises(decider, BatchedSimulator(world, 1), steps)
    at = np.flatnonzero(steps.counts & (numbers >= 0))
    if len(at) < MIN_STEPS:
        raise AgentError(
            f"only {len(at)} steps of the log have actions of this policy; give the log of its own "
            f"deployment"
        )
    train, judge = (at[part] for part in _parts(len(at)))
    residuals = Residuals(known, decider.advice.actions)
    residuals.add_logged(numbers[train], surprises[train], steps.observations[train])
    weights, more = residuals.weights(), residuals.offsets()
    residuals.add_logged(numbers[judge], surprises[judge], steps.observations[judge])
    differ, found = residuals.deviations()
    old = np.array(policy.rule.parameters.get("offsets", np.zeros(len(more))))
    offsets = np.clip(old + more, -LARGEST_OFFSET, LARGEST_OFFSET)
    changed = replace(policy, rule=policy.rule.with_parameters(offsets=offsets))
    return Learned(changed, _spread(found), _spread(found - differ @ weights))


def _surprises(
    decider: Advised, plant: Plant, steps: LoggedSteps
) -> tuple[NDArray[np.int64], Floats]:
    """Number of each step's action in the portfolio, -1 where it is none, and its surprise."""
    portfolio = {tuple(row): number for number, row in enumerate(decider.advice.actions.tolist())}
    numbers = np.full(len(steps.costs), -1)
    surprises = np.zeros(len(steps.costs))
    log_costs = np.log(np.maximum(steps.costs - steps.switching, SMALLEST_COST))
    for i, action in enumerate(steps.actions.tolist()):
        if steps.begins[i]:
            decider.begin(plant, 1)
        decider.scores(steps.observations[i : i + 1])
        numbers[i] = portfolio.get(tuple(action), -1)
        if numbers[i] >= 0:
            decider.take(numbers[i : i + 1])
            surprises[i] = log_costs[i] - float(decider.log_costs[0, numbers[i]])
    return numbers, surprises
