"""Safe exploration on a live board: an agent's actions are bounded before they are carried out."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider
from agents.policy.thermal_mask import ThermalActionMask
from envs.edge_env import EdgeSplitEnv
from envs.objective import SMALLEST_COST
from envs.plant import Indices

Step = tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]


class SafeEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets an agent stray a little from a trusted policy, and reports what was really done.

    - No axis is further than `REACH` steps from what the trusted policy would choose.
    - After a step in which too many requests came late, the trusted policy decides alone.
    - Near the throttling temperature no clock is raised.

    `info["executed"]` is the action that was applied, for the replay buffer. The reward is minus
    the logarithm of the cost, as in simulation.
    """

    REACH = 1
    MIN_DEADLINE_HIT_RATE = 0.9
    MARGIN_C = 3.0

    def __init__(self, env: EdgeSplitEnv, trusted: Decider) -> None:
        """Wrap `env`."""
        super().__init__(env)
        self._trusted = trusted
        self._sizes = env.decoder.sizes
        axes = env.plant.layout.axes
        self._guard = ThermalActionMask(axes, env.encoder.fields, self.MARGIN_C)
        self._is_late = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self._is_late = False
        return self._observation, info

    def step(self, action: NDArray[Any]) -> Step:
        """Bound the action and apply it."""
        executed = self.bounded(np.asarray(action))
        self._observation, reward, ended, cut, info = self.env.step(executed)
        self._is_late = info["outcome"]["deadline_hit_rate"] < self.MIN_DEADLINE_HIT_RATE
        info["executed"] = executed
        log_cost = float(np.log(max(-float(reward), SMALLEST_COST)))
        return self._observation, -log_cost, ended, cut, info

    def bounded(self, action: NDArray[Any]) -> NDArray[np.int64]:
        """What is done when `action` is asked for, shape (n_axes,)."""
        base: Indices = self._trusted.decide(self._observation[None])[0]
        near = base if self._is_late else np.clip(action, base - self.REACH, base + self.REACH)
        allowed = self._guard.allowed(self._observation[None])[0]
        ends = np.cumsum(self._sizes)
        tops = [
            int(np.flatnonzero(allowed[end - size : end])[-1])
            for end, size in zip(ends, self._sizes, strict=True)
        ]
        return np.clip(near, 0, tops).astype(np.int64)
