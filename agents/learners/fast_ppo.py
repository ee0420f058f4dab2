"""PPO of Stable-Baselines3, faster: the same gradients with less work around them.

Same algorithm and defaults as `stable_baselines3.PPO` (Schulman et al. 2017, arXiv 1707.06347) on
`MultiDiscrete` actions and many boards: one fused distribution for all axes, the loss's gradient in
closed form, no per-board Python, no per-step buffers, and a fused optimiser.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from agents.learners.algorithm import Algorithm, linear_to_zero
from agents.learners.imitation import ImitationConfig
from agents.learners.search_space import PPO as SEARCH
from agents.learning.categoricals import Categoricals
from agents.learning.export import freeze, read_layers
from agents.learning.rollout import Minibatch, Rollout
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata

TINY = 1e-8
"""Against division by zero, the value of Stable-Baselines3."""


class FastPPO(PPO):
    """PPO for `MultiDiscrete` actions on the processor; agents save, load and predict as SB3's."""

    policy: ActorCriticPolicy

    def _setup_model(self) -> None:
        super()._setup_model()
        if not isinstance(self.action_space, spaces.MultiDiscrete):
            raise TypeError(f"FastPPO needs MultiDiscrete actions, got {self.action_space}")
        self._choices = Categoricals(self.action_space.nvec.tolist())
        self._learned = list(self.policy.parameters())  # to look them up takes longer than to clip
        n_fields = self.observation_space.shape[0]  # type: ignore[index]
        n_axes = len(self.action_space.nvec)
        self._rollout = Rollout(self.n_steps, self.n_envs, n_fields, n_axes)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_choices", "_rollout", "_learned"]

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Step all boards `n_rollout_steps` times; False when a callback stops the training."""
        callback.on_rollout_start()
        rollout = self._rollout
        with torch.no_grad():
            for t in range(n_rollout_steps):
                rollout.observations[t] = torch.from_numpy(self._last_obs)
                actions = self._act(t)
                self._last_obs, rewards, dones, infos = env.step(actions)  # type: ignore[assignment]
                rollout.rewards[t] = torch.from_numpy(rewards)
                rollout.ended[t] = torch.from_numpy(dones)
                if dones.any():
                    self._update_info_buffer(infos, dones)
                    self._bootstrap(t, dones, infos)
                self.num_timesteps += env.num_envs
                callback.update_locals({"infos": infos})
                if not callback.on_step():
                    return False
            values = self._values(rollout.observations.flatten(0, 1)).view(n_rollout_steps, -1)
            last = self._values(torch.from_numpy(self._last_obs))
            rollout.estimate(values, last, self.gamma, self.gae_lambda)
        self._explained = 1.0 - float((rollout.returns - values).var() / rollout.returns.var())
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """Update the networks on the rollout, `n_epochs` times."""
        self._update_learning_rate(self.policy.optimizer)
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        sums = np.zeros(4)
        n = 0
        for _ in range(self.n_epochs):
            for batch in self._rollout.minibatches(self.batch_size):
                sums += self._update(batch, clip)
                n += 1
        self._n_updates += self.n_epochs
        for name, value in zip(
            ("entropy_loss", "value_loss", "approx_kl", "clip_fraction"), sums / n, strict=True
        ):
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/explained_variance", self._explained)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _act(self, t: int) -> Any:
        logits = self._logits(self._rollout.observations[t])
        log_p = self._choices.log_softmax(logits)
        actions = self._choices.sample(log_p.exp())
        self._rollout.actions[t] = actions
        self._rollout.log_prob[t] = self._choices.log_prob(log_p, actions)
        return actions.numpy()

    def _bootstrap(self, t: int, dones: Any, infos: list[dict[str, Any]]) -> None:
        """Add what comes after a time limit, which is no end of the task."""
        cut = [int(i) for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)]
        if self.gamma > 0.0 and cut:
            last = np.stack([infos[i]["terminal_observation"] for i in cut])
            self._rollout.rewards[t][cut] += self.gamma * self._values(torch.from_numpy(last))

    def _update(self, batch: Minibatch, clip: float) -> Any:
        """One step of the optimiser; the gradient of PPO's loss by hand, the networks' by torch."""
        logits = self._logits(batch.observations)
        values = self._values(batch.observations)
        with torch.no_grad():
            n = len(values)
            scores = self._choices.scores(logits)
            log_ratio = self._choices.log_prob(scores.log_p, batch.actions) - batch.log_prob
            ratio = log_ratio.exp()
            advantages = batch.advantages
            if self.normalize_advantage and n > 1:
                advantages = (advantages - advantages.mean()) / (advantages.std() + TINY)
            clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
            free = advantages * ratio <= advantages * clipped
            by_log_prob = (-advantages * ratio * free / n)[:, None]
            by_logits = by_log_prob * (self._choices.one_hot(batch.actions) - scores.p)
            surplus = scores.log_p + self._choices.spread(scores.entropy)
            by_logits += (self.ent_coef / n) * scores.p * surplus
            error = values - batch.returns
        self.policy.optimizer.zero_grad()
        torch.autograd.backward([logits, values], [by_logits, (2.0 * self.vf_coef / n) * error])
        clip_grad_norm_(self._learned, self.max_grad_norm)
        self.policy.optimizer.step()
        return np.array(
            [
                -float(scores.entropy.sum(dim=1).mean()),
                float(error.square().mean()),
                float((ratio - 1.0 - log_ratio).mean()),
                float((~free).float().mean()),
            ]
        )

    def _logits(self, observations: Tensor) -> Tensor:
        logits: Tensor = self.policy.action_net(self.policy.mlp_extractor.policy_net(observations))
        return logits

    def _values(self, observations: Tensor) -> Tensor:
        values: Tensor = self.policy.value_net(self.policy.mlp_extractor.value_net(observations))
        return values.flatten()


def freeze_actor(agent: Any, metadata: PolicyMetadata) -> FrozenPolicy:
    """Freeze the actor of an `ActorCriticPolicy`."""
    policy = agent.policy
    return freeze(
        agent, metadata, *read_layers([*policy.mlp_extractor.policy_net, policy.action_net])
    )


# Many boards and little look-ahead: what an action does to clocks and queue is nearly all charged
# to its own step. The entropy bonus must start high, or each axis settles near the first good point
# it finds, and end at zero. Twice over each batch and small networks: more epochs learn more per
# step but less per second. What else was tried, by hand and by `train.py --tune`, and what five
# seeds of these settings come to: results/README.md, results/learners.md.
RECIPE = Algorithm(
    agent_class=FastPPO,
    n_envs=960,
    total_timesteps=7_200_000,
    ent_coef=0.05,
    settings={
        "learning_rate": linear_to_zero(3e-3),
        "n_steps": 10,
        "batch_size": 1200,
        "n_epochs": 2,
        "gamma": 0.5,
        "gae_lambda": 0.9,
        "policy_kwargs": {
            "net_arch": {"pi": [128, 128], "vf": [32, 32]},
            "activation_fn": nn.ReLU,
            "optimizer_kwargs": {"fused": True},
        },
    },
    freeze=freeze_actor,
    search=SEARCH,
)
AMORTISED = replace(RECIPE, lessons=ImitationConfig(), total_timesteps=2_400_000)
