"""Replay buffer of transitions with their durations and the actions really carried out."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize


class TransitionBuffer(ReplayBuffer):
    """Carries a discount per transition (`ReplayBufferSamples.discounts`).

    The environment may put into `info`:

    - `interval`: what the transition lasted, in control periods H; 1 if absent. Its discount is
      `gamma ** interval`. A transition from one decision to the next lasts a whole period. Only one
      that ends where the next action takes over, the sub-interval of Xiao et al. (ICLR 2020,
      arXiv 2004.06089), lasts t_AS / H; giving whole periods that discount would make it nearly 1
      and let the values drift.
    - `executed`: the action that was applied, where a guard replaced the one asked for.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        gamma: float,
        **settings: Any,
    ) -> None:
        """Allocate."""
        super().__init__(buffer_size, observation_space, action_space, **settings)
        self.gamma = gamma
        self.intervals = np.ones((self.buffer_size, self.n_envs), dtype=np.float32)

    def add(
        self,
        obs: NDArray[Any],
        next_obs: NDArray[Any],
        action: NDArray[Any],
        reward: NDArray[Any],
        done: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Add one transition per environment."""
        self.intervals[self.pos] = [info.get("interval", 1.0) for info in infos]
        if any("executed" in info for info in infos):
            action = np.stack(
                [info.get("executed", asked) for info, asked in zip(infos, action, strict=True)]
            )
        super().add(obs, next_obs, action, reward, done, infos)

    def _get_samples(
        self, batch_inds: NDArray[np.int64], env: VecNormalize | None = None
    ) -> ReplayBufferSamples:
        boards = np.random.randint(0, self.n_envs, size=len(batch_inds))
        at = (batch_inds, boards)
        ended = self.dones[at] * (1.0 - self.timeouts[at])
        discounts = self.gamma ** self.intervals[at]
        columns = (self.observations[at], self.actions[at], self.next_observations[at])
        rewards = self.rewards[at]
        scalars = (each[:, None].astype(np.float32) for each in (ended, rewards, discounts))
        return ReplayBufferSamples(*map(self.to_torch, (*columns, *scalars)))
