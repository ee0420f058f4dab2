"""Action masks for sb3-contrib's MaskablePPO: the clocks that a hot board leaves."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import (
    VecEnvIndices,
    VecEnvObs,
    VecEnvStepReturn,
)

from agents.policy.thermal_mask import ThermalGuard
from envs.plant import Layout
from envs.spaces import observation_fields


class Masked(VecEnvWrapper):
    """Answers MaskablePPO's question which choices of each axis are allowed."""

    METHOD = "action_masks"

    def __init__(self, venv: VecEnv, layout: Layout, margin_c: float) -> None:
        """Wrap `venv`; see `agents.policy.thermal_mask.ThermalGuard`."""
        super().__init__(venv)
        self._guard = ThermalGuard(layout.axes, observation_fields(layout), margin_c)

    def reset(self) -> VecEnvObs:
        """Reset the boards."""
        return self._remember(self.venv.reset())

    def step_wait(self) -> VecEnvStepReturn:
        """Step the boards."""
        observations, rewards, dones, infos = self.venv.step_wait()
        return self._remember(observations), rewards, dones, infos

    def has_attr(self, attr_name: str) -> bool:
        """Tell that there are masks."""
        return attr_name == self.METHOD or super().has_attr(attr_name)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Masks of all boards; everything else is for the boards."""
        if method_name == self.METHOD:
            return list(self._allowed)
        return super().env_method(method_name, *method_args, indices=indices, **method_kwargs)

    def _remember(self, observations: VecEnvObs) -> VecEnvObs:
        self._allowed = self._guard.allowed(np.asarray(observations))
        return observations
