"""Measurements for offline searches: many fixed actions run side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.plant import Indices
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig


@dataclass(frozen=True, slots=True)
class Series:
    """Steps of k fixed actions on m episodes each, arrays of shape (n_steps, k, m).

    Attributes:
        latency_s: mean latency.
        energy_j: energy per request.
        deadline_hit_rate: share of requests in time.
        accuracy: of the answers.
        cost: of the step.
        link_bps: rate as estimated before the step.
    """

    latency_s: Floats
    energy_j: Floats
    deadline_hit_rate: Floats
    accuracy: Floats
    cost: Floats
    link_bps: Floats

    @property
    def n_steps(self) -> int:
        """Control steps that were simulated, over all boards."""
        return int(self.cost.size)


def measure(world: SimConfig, actions: Indices, seeds: NDArray[np.uint64]) -> Series:
    """Run every action, shape (k, n_axes), through one episode per seed."""
    shape = (len(actions), len(seeds))
    fleet, objective = BatchedSimulator(world, shape[0] * shape[1]), world.objective()
    readings = fleet.reset(np.tile(seeds, shape[0]))
    held = np.repeat(actions, shape[1], axis=0)
    columns: list[list[Floats]] = []
    for _ in range(world.n_steps):
        eta, link_bps = readings.eta, readings.link_bps
        outcome = fleet.step(held)
        readings = fleet.readings()
        columns.append(
            [
                outcome.latency_s,
                outcome.energy_j,
                outcome.deadline_hit_rate,
                outcome.accuracy,
                objective.cost(outcome, eta),
                link_bps,
            ]
        )
    stacked = np.array(columns).reshape(world.n_steps, 6, *shape)
    return Series(*np.moveaxis(stacked, 1, 0))
