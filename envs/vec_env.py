"""The vectorised twin of `EdgeSplitSim-v0`: thousands of boards in one SB3 `VecEnv`.

Equal to the single environment step for step: board `i` after `seed(s)` is the environment after
`reset(seed=s + i)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils.seeding import np_random
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvStepReturn

from envs.arrays import Floats
from envs.edge_env import action_space, decode, episode_seeds, observation_space
from envs.plant import Outcome
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.sim_config import SimConfig
from envs.spaces import ActionDecoder, ObservationEncoder, Observations, observation_fields


class EdgeSplitVecEnv(VecEnv):
    """`n` simulated boards whose episodes begin and end together.

    Attributes:
        last_outcome: of the last step, all boards.
        last_terms: reward terms of the last step, all boards.
        last_actions: indices applied in the last step, shape (n, n_axes).
    """

    last_outcome: Outcome
    last_terms: dict[str, Floats]
    last_actions: NDArray[np.int64]

    def __init__(self, world: SimConfig, n: int, *, continuous: bool = False) -> None:
        """Create the boards; `seed` and `reset` begin their first episode."""
        self.fleet = BatchedSimulator(world, n)
        self.objective = world.objective()
        self.encoder = ObservationEncoder(observation_fields(self.fleet.layout))
        self.decoder = ActionDecoder(self.fleet.layout.axes)
        self.continuous = continuous
        self.render_mode = None
        super().__init__(
            n, observation_space(self.encoder), action_space(self.decoder, continuous=continuous)
        )
        self.seed(0)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed board `i` with `seed + i` from its next reset on."""
        first = 0 if seed is None else seed
        seeds = [first + i for i in range(self.num_envs)]
        self._generators = [np_random(s)[0] for s in seeds]
        return seeds

    def reset(self) -> Observations:
        """Begin an episode on every board."""
        self._t = 0
        self._returns = np.zeros(self.num_envs)
        self.reset_infos = [{} for _ in range(self.num_envs)]
        readings = self.fleet.reset(episode_seeds(self._generators))
        self._eta = readings.eta
        return self.encoder.encode(readings)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember the actions for `step_wait`."""
        self.last_actions = decode(self.decoder, actions, continuous=self.continuous)

    def step_wait(self) -> VecEnvStepReturn:
        """Step every board; at the end of the episodes begin new ones, as SB3 expects."""
        self.last_outcome = self.fleet.step(self.last_actions)
        self.last_terms = self.objective.terms(self.last_outcome, self._eta)
        rewards = -sum(self.last_terms.values(), np.zeros(self.num_envs)).astype(np.float32)
        self._returns += rewards
        self._t += 1
        readings = self.fleet.readings()
        self._eta = readings.eta
        observations = self.encoder.encode(readings)
        dones = np.full(self.num_envs, self._t >= self.fleet.n_steps)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones[0]:
            for board, info in enumerate(infos):
                info["terminal_observation"] = observations[board]
                info["TimeLimit.truncated"] = True
                info["episode"] = {"r": float(self._returns[board]), "l": self._t, "t": 0.0}
            observations = self.reset()
        return observations, rewards, dones, infos

    def close(self) -> None:
        """Nothing is held."""
        self.fleet.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Repeat an attribute of the simulator for each board asked for."""
        return [getattr(self, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: the boards share their attributes."""
        raise NotImplementedError("the boards of a simulator share their attributes")

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: VecEnvIndices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Refuse: there is no single environment behind a board."""
        raise NotImplementedError("the boards of a simulator have no environment of their own")

    def env_is_wrapped(
        self,
        wrapper_class: type,
        indices: VecEnvIndices = None,
    ) -> list[bool]:
        """No board is wrapped."""
        return [False] * len(list(self._get_indices(indices)))
