"""Boards that show the models' advice on a portfolio of actions, and report its cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.advised.policy import PolicyFeatures
from agents.deciders.base import top_clocks
from agents.deciders.nominal import NominalModel
from envs.objective import SMALLEST_COST
from envs.plant import Indices, Outcome
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import Observations

N_REFERENCES = 16
"""Actions, the most complementary ones first, that stand for the best at rest."""
CHUNK = 240
"""Boards whose outcomes are computed at once; their arrays should fit into the cache."""


class AdvisedBoards(VecEnvWrapper):
    """Observations are `agents.advised.policy.PolicyFeatures`, actions numbers of the portfolio."""

    def __init__(self, venv: VecEnv, fleet: BatchedSimulator, actions: Indices) -> None:
        """Wrap simulated boards.

        Args:
            venv: steps the boards.
            fleet: the simulator itself, asked for the outcomes of actions not taken.
            actions: the portfolio, shape (k, n_axes).
        """
        self.actions = actions
        self._fleet, self._objective = fleet, fleet.world.objective()
        self._advice = PolicyFeatures(NominalModel.of(fleet.world), actions)
        seen = spaces.Box(-np.inf, np.inf, (self._advice.n_inputs,), np.float32)
        super().__init__(venv, seen, spaces.Discrete(len(actions)))

    def reset(self) -> Observations:
        """Begin an episode on every board."""
        return self._begin(np.asarray(self.venv.reset()))

    def step_async(self, actions: NDArray[Any]) -> None:
        """Look the actions up."""
        self._held = self.actions[actions]
        self.venv.step_async(self._held)

    def step_wait(self) -> VecEnvStepReturn:
        """Step every board."""
        seen, rewards, dones, infos = self.venv.step_wait()
        observations = np.asarray(seen)
        if dones[0]:  # all episodes end together, and the next ones have begun
            return self._begin(observations), rewards, dones, infos
        return self._advice.see(observations, self._held), rewards, dones, infos

    def log_costs(self, dwell_steps: float) -> NDArray[np.float32]:
        """Logarithm of what each action of the portfolio would cost now, shape (n, k).

        Args:
            dwell_steps: a switch is weighed as if the state lasted so many steps.
        """
        parts = []
        for boards in self._chunks():
            outcome = self._fleet.outcomes(self.actions, boards)
            parts.append(
                self._cost(replace(outcome, switched=outcome.switched / dwell_steps), boards)
            )
        return np.concatenate(parts)

    def least_log_cost(self) -> NDArray[np.float32]:
        """What the best action at rest would cost each board, whatever was decided before."""
        few = self.actions[:N_REFERENCES]
        outcomes = ((self._fleet.outcomes(few, b, settled=True), b) for b in self._chunks())
        return np.concatenate([self._cost(*pair).min(axis=1) for pair in outcomes])

    def _begin(self, observations: Observations) -> Observations:
        self._held = top_clocks(self._fleet.layout, self._fleet.n)
        self._advice.begin()
        return self._advice.see(observations, self._held)

    def _cost(self, outcome: Outcome, boards: slice) -> NDArray[np.float32]:
        costs = self._objective.cost(outcome, self._fleet.eta()[boards, None])
        logs: NDArray[np.float32] = np.log(np.maximum(costs, SMALLEST_COST)).astype(np.float32)
        return logs

    def _chunks(self) -> list[slice]:
        return [slice(start, start + CHUNK) for start in range(0, self._fleet.n, CHUNK)]
