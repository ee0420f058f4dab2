"""Cost of a decider over whole episodes; the measure that searches minimise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider, account
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields


def mean_cost(world: SimConfig, decider: Decider, seeds: NDArray[np.uint64]) -> float:
    """Mean cost per step of a decider over whole episodes, one per seed."""
    fleet, objective = BatchedSimulator(world, len(seeds)), world.objective()
    encoder = ObservationEncoder(observation_fields(fleet.layout))
    readings = fleet.reset(seeds)
    decider.begin(fleet, fleet.n)
    total = 0.0
    for _ in range(world.n_steps):
        eta = readings.eta
        outcome = fleet.step(decider.decide(encoder.encode(readings)))
        account(decider, outcome)
        readings = fleet.readings()
        total += float(objective.cost(outcome, eta).mean())
    return total / world.n_steps
