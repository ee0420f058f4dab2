"""Agents that choose from a list of whole actions, and the making of that list."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from envs.plant import Indices, Layout


def drldo_table(layout: Layout) -> Indices:
    """List what DRLDO decides (Panda et al., IoT-J 2023): the CPU's clock, and edge or cloud.

    The paper has a CPU and tasks that are offloaded as a whole. All other clocks are at their
    maximum here, below which the kernel's governors choose. Shape (k, n_axes).
    """
    choices = [
        range(len(axis.values)) if axis.name == "cpu" else [len(axis.values) - 1]
        for axis in layout.axes[:-1]
    ]
    routes = [0, len(layout.axes[-1].values) - 1]
    grid = np.meshgrid(*choices, routes, indexing="ij")
    return np.stack([column.ravel() for column in grid], axis=1).astype(np.int64)


class TableActions(VecEnvWrapper):
    """Turns the number of a listed action into the action."""

    def __init__(self, venv: VecEnv, table: Indices) -> None:
        """Wrap `venv`."""
        super().__init__(venv, action_space=spaces.Discrete(len(table)))
        self._table = table

    def reset(self) -> VecEnvObs:
        """Reset the boards."""
        return self.venv.reset()

    def step_async(self, actions: NDArray[Any]) -> None:
        """Look the actions up."""
        self.venv.step_async(self._table[actions])

    def step_wait(self) -> VecEnvStepReturn:
        """Step the boards."""
        return self.venv.step_wait()
