"""Reward that agents learn from: minus the logarithm of the cost."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs.objective import SMALLEST_COST


class LogCost(VecEnvWrapper):
    """Replaces the reward, minus the cost, by minus the cost's logarithm.

    One step with a full queue costs as much as a hundred quiet ones, so that on the plain cost
    the few bad states drown what can be saved in the many good ones. The logarithm makes a per
    cent weigh the same everywhere; results are always reported on the plain cost.
    """

    def reset(self) -> VecEnvObs:
        """Reset the boards."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Step the boards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return observations, -np.log(np.maximum(-rewards, SMALLEST_COST)), dones, infos
