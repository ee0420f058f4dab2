"""Recipe of Stable-Baselines3's SAC: a number per axis, cut into equal bins."""

from __future__ import annotations

from stable_baselines3 import SAC

from agents.learners.algorithm import Algorithm
from agents.learners.off_policy import SETTINGS
from agents.learners.search_space import SAC as SEARCH
from agents.learning.export import freeze, read_layers
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata


def _freeze(agent: SAC, metadata: PolicyMetadata) -> FrozenPolicy:
    actor = agent.policy.actor
    return freeze(agent, metadata, *read_layers([*actor.latent_pi, actor.mu]))


# Four updates a step of all boards, from all that was ever seen: without look-ahead no experience
# grows old. What else was tried, by hand and by `train.py --tune`, and what five seeds of
# these settings come to: results/README.md, results/learners.md. The temperature is adapted too
# slowly to begin at 1.
RECIPE = Algorithm(
    agent_class=SAC,
    n_envs=64,
    total_timesteps=180_032,
    settings={
        **SETTINGS,
        "buffer_size": 200_000,
        "gradient_steps": 4,
        "ent_coef": "auto_0.05",
        "policy_kwargs": {"net_arch": [128, 128]},
    },
    freeze=_freeze,
    head="box",
    search=SEARCH,
)
