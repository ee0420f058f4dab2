"""DVFO's discount as published, for the ablation."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, observation_fields


class SelectionTimeDiscount(VecEnvWrapper):
    """Discounts each transition by gamma ** (t_AS / H), though it lasts a whole period H.

    So DVFO is understood to do (arXiv 2306.01811). See `agents.learning.transitions` for why it is
    not the default.
    """

    def __init__(self, venv: VecEnv, world: SimConfig) -> None:
        """Wrap `venv`."""
        super().__init__(venv)
        self._encoder = ObservationEncoder(observation_fields(world.layout))
        self._step_s = world.step_s

    def reset(self) -> VecEnvObs:
        """Reset the boards."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step the boards and report how long the decisions took."""
        observations, rewards, dones, infos = self.venv.step_wait()
        decision_s = self._encoder.decode(np.asarray(observations)).decision_s
        for info, interval in zip(infos, decision_s / self._step_s, strict=True):
            info["interval"] = float(min(interval, 1.0))
        return observations, rewards, dones, infos
