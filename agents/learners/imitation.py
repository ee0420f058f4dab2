"""Imitation of a planner: a network learns the cost tables of whole action spaces.

A simulated board can be asked what every action would cost in its present state. Each table is
turned into soft labels, one distribution per action axis: the marginals of the Boltzmann
distribution over all actions, whose energies are the logarithms of their costs. A classifier that
sees only observations learns them, on states that it reaches itself (DAgger, Ross et al. 2011,
arXiv 1011.0686), so that it averages over what the observations leave open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.deciders.base import axis_sizes
from agents.deciders.oracle import cost_table
from agents.learning.categoricals import Categoricals
from agents.seeds import seeds_for
from envs.objective import SMALLEST_COST
from envs.plant import Indices
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, Observations, observation_fields

_LESSONS = 0x1E550
CHUNK = 4
"""Boards whose cost tables are computed at once; their arrays should fit into the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImitationConfig:
    """Settings of the imitation.

    Attributes:
        n_rounds: episodes of all boards; each begins with what the rounds before have taught.
        n_boards: that run at once.
        look_every: control steps between two tables of a board.
        temperature: of the labels, in units of the cost's logarithm: 0.05 makes an action that
            costs 5 % more e times less likely.
        n_epochs: passes over all labels after each round.
        batch_size: labels per update.
        learning_rate: at the beginning of the last round, falls to zero.
        explore: chance of an axis to be set at random for a step.
    """

    n_rounds: int = 4
    n_boards: int = 64
    look_every: int = 5
    temperature: float = 0.05
    n_epochs: int = 12
    batch_size: int = 256
    learning_rate: float = 3e-3
    explore: float = 0.1

    def n_steps(self, world: SimConfig) -> int:
        """Control steps of all boards that they take."""
        return self.n_rounds * self.n_boards * world.n_steps


@dataclass(frozen=True, slots=True)
class Labels:
    """What was learned from, one row per state.

    Attributes:
        observations: shape (n, n_fields).
        choices: soft labels, one distribution per axis, shape (n, sum of the axes' sizes).
        values: lowest log cost of any action, negated, shape (n,).
    """

    observations: Tensor
    choices: Tensor
    values: Tensor


def soft_labels(
    fleet: BatchedSimulator, observations: Observations, temperature: float
) -> tuple[Labels, Indices]:
    """Ask the boards for the cost of everything.

    Returns:
        The labels, and the cheapest action of each board.
    """
    sizes = axis_sizes(fleet.layout)
    choices, values, best = [], [], []
    for start in range(0, fleet.n, CHUNK):
        costs = cost_table(fleet, slice(start, start + CHUNK))
        table = np.log(np.maximum(costs, SMALLEST_COST)).astype(np.float32)
        rows = table.reshape(len(table), -1)
        lowest = rows.min(axis=1)
        best.append(np.stack(np.unravel_index(rows.argmin(axis=1), sizes), axis=1))
        values.append(-lowest)
        choices.append(_marginals(table, lowest, temperature))
    labels = Labels(*map(torch.from_numpy, (observations, *map(np.concatenate, (choices, values)))))
    return labels, np.concatenate(best)


def _marginals(
    table: NDArray[np.float32], lowest: NDArray[np.float32], temperature: float
) -> NDArray[np.float32]:
    """Distribution of each axis under the Boltzmann distribution over whole actions."""
    axes = range(1, table.ndim)
    weights = np.exp((lowest.reshape(-1, *(1 for _ in axes)) - table) / np.float32(temperature))
    sums = [weights.sum(axis=tuple(a for a in axes if a != axis)) for axis in axes]
    return np.concatenate([s / s.sum(axis=1, keepdims=True) for s in sums], axis=1)


class Imitation:
    """Teaches a policy network, and a value network to begin reinforcement learning with."""

    def __init__(
        self,
        world: SimConfig,
        policy: nn.Module,
        value: nn.Module,
        seed: int,
        lessons: ImitationConfig,
    ) -> None:
        """Prepare the boards.

        Args:
            world: whose simulated boards are asked.
            policy: from observations to logits; changed in place.
            value: from observations to one number; changed in place.
            seed: of episodes and sampling.
            lessons: settings.
        """
        self._world, self._policy, self._value, self._lessons = world, policy, value, lessons
        self._fleet = BatchedSimulator(world, lessons.n_boards)
        self._encoder = ObservationEncoder(observation_fields(self._fleet.layout))
        self._choices = Categoricals(axis_sizes(self._fleet.layout))
        self._generator = np.random.default_rng(seed)
        self._seeds = seeds_for(_LESSONS, seed, lessons.n_rounds * lessons.n_boards)
        self._labels: list[Labels] = []
        torch.manual_seed(seed)
        parameters = [*policy.parameters(), *value.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lessons.learning_rate, fused=True)

    def run(self, report: Callable[[float], None] = lambda _: None) -> int:
        """Gather and learn.

        Args:
            report: called with the mean loss after every round.

        Returns:
            Control steps of all boards.
        """
        lessons = self._lessons
        for k in range(lessons.n_rounds):
            self._gather(self._seeds[k * lessons.n_boards : (k + 1) * lessons.n_boards], k == 0)
            report(self._learn(is_last=k == lessons.n_rounds - 1))
        return lessons.n_steps(self._world)

    def _gather(self, seeds: NDArray[np.uint64], is_first: bool) -> None:
        """Run an episode, by the cheapest actions at first, then by the learner's own."""
        lessons, fleet, generator = self._lessons, self._fleet, self._generator
        readings = fleet.reset(seeds)
        offset = int(generator.integers(lessons.look_every))
        best = np.zeros((fleet.n, len(self._choices.sizes)), dtype=np.int64)
        for t in range(self._world.n_steps):
            observations = self._encoder.encode(readings)
            if t % lessons.look_every == offset:
                labels, best = soft_labels(fleet, observations, lessons.temperature)
                self._labels.append(labels)
            actions = best if is_first else self._act(observations)
            drawn = generator.integers(0, self._choices.sizes, actions.shape)
            fleet.step(np.where(generator.random(actions.shape) < lessons.explore, drawn, actions))
            readings = fleet.readings()

    def _act(self, observations: Observations) -> Indices:
        with torch.no_grad():
            return self._choices.mode(self._policy(torch.from_numpy(observations))).numpy()

    def _learn(self, *, is_last: bool) -> float:
        lessons = self._lessons
        observations = torch.cat([labels.observations for labels in self._labels])
        choices = torch.cat([labels.choices for labels in self._labels])
        values = torch.cat([labels.values for labels in self._labels])
        n_batches = -(-len(values) // lessons.batch_size)
        n_updates = lessons.n_epochs * n_batches
        losses = []
        for update in range(n_updates):
            if update % n_batches == 0:
                batches = torch.split(torch.randperm(len(values)), lessons.batch_size)
            left = 1.0 - update / n_updates if is_last else 1.0
            self._optimizer.param_groups[0]["lr"] = lessons.learning_rate * left
            picks = batches[update % n_batches]
            log_p = self._choices.log_softmax(self._policy(observations[picks]))
            cross_entropy = -(choices[picks] * log_p).sum(dim=1).mean()
            error = (self._value(observations[picks])[:, 0] - values[picks]).square().mean()
            self._optimizer.zero_grad()
            torch.autograd.backward(cross_entropy + error)
            self._optimizer.step()
            losses.append(float(cross_entropy.detach()))
        return float(np.mean(losses[-n_batches:]))
