"""A reward of one's own: joules per request in time. `python -m examples.own_reward`."""

import os
from typing import Any

import gymnasium
from stable_baselines3 import PPO

import envs  # noqa: F401  # registers the environments

STEPS = int(os.environ.get("STEPS", "20000"))
MODEL = os.environ.get("MODEL", "efficientnet-lite0")


class JoulesInTime(gymnasium.Wrapper):
    """Pays one for each request in time, less the energy in units of 2 J."""

    def step(self, action: Any) -> Any:
        """Replace the reward; what happened stands in `info["outcome"]`."""
        observation, _, terminated, truncated, info = self.env.step(action)
        outcome = info["outcome"]
        reward = outcome["deadline_hit_rate"] - outcome["energy_j"] / 2.0
        return observation, reward, terminated, truncated, info


if __name__ == "__main__":
    # Short of that, weights of the cost: eta (energy against time), deadlines, switching and heat.
    weights = {"deadline": 2.0, "switching": 0.0}
    env = gymnasium.make("EdgeSplitSim-v0", model=MODEL, eta=0.9, weights=weights, n_steps=120)
    model = PPO("MlpPolicy", JoulesInTime(env), n_steps=min(512, STEPS), gamma=0.0, seed=0)
    model.learn(STEPS)
    print(f"mean of an episode: {model.ep_info_buffer[-1]['r']:.1f} of 120 at most")
