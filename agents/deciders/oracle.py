"""The optimum of each state under the true model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agents.deciders.base import simulated
from envs.arrays import Floats
from envs.plant import Indices, Plant
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import Observations


class Oracle:
    """The cheapest action of each state by exhaustive search under the true model.

    It sees the link, the server's load and the requests of the coming step without noise or age
    (not the board's own bursts of background work), and does not plan beyond it. A switch is
    weighed as if the state lasted `DWELL_STEPS` steps, since charging it to one step would pin
    the oracle to where it began.
    """

    CHUNK = 8
    DWELL_STEPS = 8

    def begin(self, plant: Plant, n: int) -> None:
        """Keep the boards, to look into them."""
        self._fleet = simulated(plant, self)

    def decide(self, observations: Observations) -> Indices:
        """Search all actions of each board."""
        choices = []
        for start in range(0, len(observations), self.CHUNK):
            costs = cost_table(self._fleet, slice(start, start + self.CHUNK))
            best = costs.reshape(len(costs), -1).argmin(axis=1)
            choices.append(np.stack(np.unravel_index(best, costs.shape[1:]), axis=1))
        return np.concatenate(choices).astype(np.int64)


def cost_table(
    fleet: BatchedSimulator, boards: slice, dwell_steps: int = Oracle.DWELL_STEPS
) -> Floats:
    """Cost of every action in the true state, shape (n_boards, *axes)."""
    outcome = fleet.every_outcome(boards)
    eta = fleet.eta()[boards].reshape(-1, *(1 for _ in fleet.layout.axes))
    switched = outcome.switched / dwell_steps
    return fleet.world.objective().cost(replace(outcome, switched=switched), eta)
