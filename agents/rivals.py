"""What a learned policy is compared with, all behind one `decide(observations, fleet)`.

The rivals need no learning: fixed choices, a model of the stock governors, the best fixed choice
that search finds, and the optimum of each state.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policy import FrozenPolicy
from envs.fleet import Fleet, World
from envs.objective import Objective
from envs.plant import Indices
from envs.signals import Floats
from envs.spaces import Observations

CPU, GPU, EMC, SPLIT = range(4)


class Decider(Protocol):
    """Chooses actions for all boards of a fleet."""

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Choose actions, shape (n, n_axes)."""


class Learned:
    """A frozen policy; sees the observation and nothing else."""

    def __init__(self, policy: FrozenPolicy) -> None:
        """Wrap `policy`."""
        self._policy = policy

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Evaluate the policy."""
        return self._policy.decide_batch(observations)


class Static:
    """The same action always."""

    def __init__(self, action: tuple[int, ...]) -> None:
        """Remember the indices of the action."""
        self.action = action

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Repeat the action for every board."""
        return np.tile(np.array(self.action, dtype=np.int64), (len(observations), 1))


class Random:
    """Uniform over all actions."""

    def __init__(self, seed: int) -> None:
        """Seed the choice."""
        self._generator = np.random.default_rng(seed)

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Draw actions."""
        sizes = [len(axis.values) for axis in fleet.layout.axes]
        return self._generator.integers(0, sizes, size=(len(observations), len(sizes)))


class Governor:
    """Edge-only under a model of the stock governors, at the control step's resolution.

    CPU: schedutil asks for 1.25 * f_max * utilisation, counted at f_max (kernel
    Documentation/scheduler/schedutil.rst); the host thread spins while the GPU works, as CUDA's
    default synchronisation does, so the core looks busy throughout an inference. GPU and memory:
    the clock at which the load would be `TARGET_LOAD`, as load-tracking devfreq governors do;
    the memory follows the GPU's load, for lack of a counter. All go to their maximum once the
    board is never idle. The targets are assumed.
    """

    HEADROOM = 1.25
    TARGET_LOAD = 0.7
    SATURATED = 0.95

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Choose clocks from the busy shares of the last step."""
        clocks_hz = fleet.readings().clocks_hz
        host_load = np.minimum(fleet.cpu_util + fleet.gpu_util, 1.0)
        wanted_hz = (
            self.HEADROOM * host_load * clocks_hz[:, CPU],
            fleet.gpu_util / self.TARGET_LOAD * clocks_hz[:, GPU],
            fleet.gpu_util / self.TARGET_LOAD * clocks_hz[:, EMC],
        )
        actions = np.empty((len(observations), 4), dtype=np.int64)
        for axis, hz in enumerate(wanted_hz):
            table = np.array(fleet.layout.axes[axis].values)
            wanted = np.minimum(np.searchsorted(table, hz), len(table) - 1)
            actions[:, axis] = np.where(host_load >= self.SATURATED, len(table) - 1, wanted)
        actions[:, SPLIT] = len(fleet.layout.axes[SPLIT].values) - 1
        return actions


class Oracle:
    """The cheapest action of each state by exhaustive search under the true model.

    It sees the link, the server's load and the requests of the coming step without noise or age
    (not the board's own bursts of background work), and does not plan beyond it. A switch is
    weighed as if the state lasted `DWELL_STEPS` steps, since charging it to one step would pin
    the oracle to where it began.
    """

    CHUNK = 8
    DWELL_STEPS = 8

    def __init__(self, objective: Objective) -> None:
        """Remember what is to be minimised."""
        self._objective = objective

    def decide(self, observations: Observations, fleet: Fleet) -> Indices:
        """Search all actions of each board."""
        choices = []
        for start in range(0, len(observations), self.CHUNK):
            costs = cost_table(fleet, self._objective, slice(start, start + self.CHUNK))
            best = costs.reshape(len(costs), -1).argmin(axis=1)
            choices.append(np.stack(np.unravel_index(best, costs.shape[1:]), axis=1))
        return np.concatenate(choices).astype(np.int64)


def cost_table(
    fleet: Fleet, objective: Objective, boards: slice, dwell_steps: int = Oracle.DWELL_STEPS
) -> Floats:
    """Cost of every action in the true state, shape (n_boards, n_cpu, n_gpu, n_emc, n_splits)."""
    outcome = fleet.every_outcome(boards)
    eta = fleet.eta()[boards].reshape(-1, 1, 1, 1, 1)
    return objective.cost(replace(outcome, switched=outcome.switched / dwell_steps), eta)


def max_clocks(world: World, split: int) -> Static:
    """Maximum clocks at a fixed split point; negative indices count from the end."""
    sizes = [len(axis.values) for axis in world.layout.axes]
    return Static((*(size - 1 for size in sizes[:-1]), split % sizes[-1]))


def best_static(world: World, seeds: NDArray[np.uint64], n_finalists: int = 48) -> Static:
    """Search the fixed action with the lowest mean cost over whole episodes.

    All actions are ranked on the states of a board held at maximum clocks, then the best ones
    are run through whole episodes, so that queues and heat count.

    Args:
        world: to search in.
        seeds: of the episodes to search on, shape (n,); keep them apart from held-out ones.
        n_finalists: how many actions are run.
    """
    ranking = _rank_on_states(world, seeds)
    finalists = [
        tuple(int(i) for i in np.unravel_index(flat, ranking.shape))
        for flat in np.argsort(ranking, axis=None)[:n_finalists]
    ]
    means = [mean_cost(world, Static(action), seeds) for action in finalists]
    return Static(finalists[int(np.argmin(means))])


def mean_cost(world: World, decider: Decider, seeds: NDArray[np.uint64]) -> float:
    """Mean cost per step of a decider that needs no observation, over whole episodes."""
    fleet, objective = Fleet(world, len(seeds)), world.objective()
    eta = fleet.reset(seeds).eta
    blind = np.empty((len(seeds), 0), dtype=np.float32)
    total = 0.0
    for _ in range(world.n_steps):
        outcome = fleet.step(decider.decide(blind, fleet))
        total += float(objective.cost(outcome, eta).mean())
    return total / world.n_steps


def _rank_on_states(world: World, seeds: NDArray[np.uint64], every: int = 16) -> Floats:
    fleet, objective = Fleet(world, len(seeds)), world.objective()
    fleet.reset(seeds)
    hold = max_clocks(world, -1).decide(np.empty((len(seeds), 0), dtype=np.float32), fleet)
    total = np.zeros([len(axis.values) for axis in world.layout.axes])
    for t in range(world.n_steps):
        if t % every == 0:
            for start in range(0, len(seeds), Oracle.CHUNK):
                boards = slice(start, start + Oracle.CHUNK)
                total += cost_table(fleet, objective, boards).sum(axis=0)
        fleet.step(hold)
    return total
