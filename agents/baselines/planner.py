"""A planner that tries a few actions in the true future."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from agents.deciders.base import axis_sizes, simulated, top_clocks
from agents.deciders.oracle import Oracle
from envs.arrays import Floats
from envs.plant import Indices, Plant
from envs.sim.fleet import Fleet
from envs.spaces import Observations


class Planner:
    """Tries a few actions in the true model, each followed by what the oracle would do.

    A rollout (Bertsekas): the oracle's decisions for the next `HORIZON` steps are the base plan;
    the present action may deviate from it, and the deviation with the least cost over the horizon
    is taken. What carries over (queue, heat, switching, battery, delayed actuation) counts in
    full. It is clairvoyant: it knows link, load, requests and the board's own bursts of work that
    far ahead, where the oracle knows the coming step. The tried actions are the oracle's, those it
    would choose if energy or time counted differently (`TILTS`), and the one in force.
    """

    HORIZON = 3
    TILTS = ((0.0, 0.0), (0.3, 0.0), (1.0, 0.0), (3.0, 0.0), (0.0, 0.5), (0.0, 2.0))
    """Energy and time counted so many times more."""

    def begin(self, plant: Plant, n: int) -> None:
        """Keep the boards, to try their future."""
        self._fleet = simulated(plant, self)
        self._held = top_clocks(plant.layout, n)
        self._plan: deque[Indices] = deque()

    def decide(self, observations: Observations) -> Indices:
        """Try the candidates of every board."""
        fresh = candidates(self._fleet)
        self._lengthen()
        self._plan.popleft()
        tried = np.stack([*fresh, self._held])
        costs = np.stack([self._follow(actions) for actions in tried])
        self._held = tried[costs.argmin(axis=0), np.arange(self._fleet.n)]
        return self._held

    def _lengthen(self) -> None:
        """Add the oracle's decisions until the plan reaches the horizon or the episode's end."""
        twin = self._fleet.fork()
        for actions in self._plan:
            twin.step(actions)
        while len(self._plan) < self.HORIZON and twin.steps_left:
            self._plan.append(candidates(twin)[0])
            twin.step(self._plan[-1])

    def _follow(self, actions: Indices) -> Floats:
        """Cost of taking actions now and the plan afterwards, shape (n,)."""
        twin, objective = self._fleet.fork(), self._fleet.world.objective()
        total = np.zeros(twin.n)
        for step_actions in (actions, *self._plan):
            eta = twin.eta()
            total += objective.cost(twin.step(step_actions), eta)
        return total


def candidates(fleet: Fleet) -> list[Indices]:
    """Actions that are cheapest under each tilt, each of shape (n, n_axes); the oracle's first."""
    chunks = [
        _tilted(fleet, slice(start, start + Oracle.CHUNK))
        for start in range(0, fleet.n, Oracle.CHUNK)
    ]
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _tilted(fleet: Fleet, boards: slice) -> list[Indices]:
    sizes = axis_sizes(fleet.layout)
    outcome = fleet.every_outcome(boards)
    outcome = replace(outcome, switched=outcome.switched / Oracle.DWELL_STEPS)
    eta = fleet.eta()[boards].reshape(-1, *(1 for _ in sizes))
    terms = fleet.world.objective().terms(outcome, eta)
    cost = sum(terms.values(), start=np.zeros(1))
    chosen = []
    for energy, time in Planner.TILTS:
        tilted = cost + energy * terms["energy"] + time * terms["time"]
        best = tilted.reshape(len(eta), -1).argmin(axis=1)
        chosen.append(np.stack(np.unravel_index(best, sizes), axis=1).astype(np.int64))
    return chosen
