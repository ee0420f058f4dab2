"""Safe exploration on a live board: an agent's actions are bounded before they are carried out."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import Decider
from agents.learning.action_codes import ActionCode, IndexCode
from agents.policy.thermal_mask import ThermalActionMask
from envs.edge_env import EdgeSplitEnv
from envs.objective import SMALLEST_COST
from envs.plant import Indices

Step = tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]


class Recovery:
    """When a trusted policy decides alone, because too many requests came late.

    Not for ever: where nothing is in time whatever is done, the agent has its turn now and then.

    Attributes:
        is_on: whether it does so in the coming step.
    """

    MIN_DEADLINE_HIT_RATE = 0.9
    MAX_STEPS = 2

    def __init__(self) -> None:
        """Begin with a board that is in time."""
        self.is_on = False
        self._n_steps = 0

    def see(self, deadline_hit_rate: float) -> None:
        """Take the share of requests in time of a step in."""
        self._n_steps = self._n_steps + 1 if self.is_on else 0
        is_late = deadline_hit_rate < self.MIN_DEADLINE_HIT_RATE
        self.is_on = is_late and self._n_steps < self.MAX_STEPS


class SafeEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Lets an agent stray from a trusted policy within bounds, and reports what was really done.

    - No axis is further than `reach` steps from what the trusted policy would choose.
    - After a step in which too many requests came late, the trusted policy decides alone.
    - Near the throttling temperature no clock is raised.

    `info["executed"]` is the action that was applied, as the agent states actions, for the replay
    buffer. The reward is minus the logarithm of the cost, as in simulation.
    """

    REACH = 1
    MARGIN_C = 3.0

    def __init__(
        self,
        env: EdgeSplitEnv,
        trusted: Decider,
        *,
        reach: int | None = REACH,
        code: ActionCode | None = None,
    ) -> None:
        """Wrap `env`.

        Args:
            env: with `MultiDiscrete` actions.
            trusted: what is known to serve the requests.
            reach: how far an axis may stray from it; None as far as it goes.
            code: how the agent states actions; an index per axis if not given.
        """
        super().__init__(env)
        self._trusted, self._reach = trusted, reach
        self._sizes = env.decoder.sizes
        self._code = code or IndexCode(self._sizes.tolist())
        self.action_space = self._code.space
        axes = env.plant.layout.axes
        self._guard = ThermalActionMask(axes, env.encoder.fields, self.MARGIN_C)
        self.recovery = Recovery()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode."""
        self._observation, info = self.env.reset(seed=seed, options=options)
        self.recovery = Recovery()
        return self._observation, info

    def step(self, action: NDArray[Any]) -> Step:
        """Bound the action and apply it."""
        asked = self._code.indices(action)
        executed = self.bounded(asked)
        self._observation, reward, ended, cut, info = self.env.step(executed)
        self.recovery.see(info["outcome"]["deadline_hit_rate"])
        is_obeyed = np.array_equal(asked, executed)
        info["executed"] = np.asarray(action) if is_obeyed else self._code.action(executed)
        log_cost = float(np.log(max(-float(reward), SMALLEST_COST)))
        return self._observation, -log_cost, ended, cut, info

    def bounded(self, indices: Indices) -> Indices:
        """What is done when `indices` are asked for, shape (n_axes,)."""
        base: Indices = self._trusted.decide(self._observation[None])[0]
        if self.recovery.is_on:
            near = base
        elif self._reach is None:
            near = indices
        else:
            near = np.clip(indices, base - self._reach, base + self._reach)
        allowed = self._guard.allowed(self._observation[None])[0]
        ends = np.cumsum(self._sizes)
        tops = [
            int(np.flatnonzero(allowed[end - size : end])[-1])
            for end, size in zip(ends, self._sizes, strict=True)
        ]
        return np.clip(near, 0, tops).astype(np.int64)
