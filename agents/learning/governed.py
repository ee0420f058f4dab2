"""Training with some clocks left to the governors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.deciders.nominal import NominalModel
from agents.deciders.partly_governed import Governors
from envs.sim.sim_config import SimConfig


class GovernedClocks(VecEnvWrapper):
    """Replaces some clocks of every action by what the modelled governors choose."""

    def __init__(self, venv: VecEnv, world: SimConfig, domains: Sequence[str]) -> None:
        """Wrap `venv`."""
        super().__init__(venv)
        self._governors = Governors(NominalModel.of(world), domains)

    def reset(self) -> VecEnvObs:
        """Reset the boards."""
        self._observations = np.asarray(self.venv.reset())
        return self._observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Let the governors speak."""
        self.venv.step_async(self._governors.overrule(actions, self._observations))

    def step_wait(self) -> VecEnvStepReturn:
        """Step the boards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self._observations = np.asarray(observations)
        return observations, rewards, dones, infos
