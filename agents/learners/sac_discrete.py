"""Soft actor-critic with one categorical choice per action axis.

SAC-d (Niu et al., WCNC 2022, arXiv 2201.02968) chooses cut, exit and bits by a discrete soft
actor-critic (Christodoulou 2019, arXiv 1910.07207); its code is not public. Chosen here: a head per
axis, the routes (cut, share of channels, bits) and every clock; two critics that branch over the
axes as DVFO's network does, since one output per whole action would be thousands; and a
temperature that falls on a schedule, since a cost's logarithm has the same scale everywhere while
adapting it to a target entropy keeps axes at random that do not matter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn

from agents.learners.algorithm import Algorithm
from agents.learners.branching import BranchingQNetwork
from agents.learners.off_policy import SETTINGS, FactoredOffPolicy, n_fields, perceptron
from agents.learners.search_space import SAC_DISCRETE
from agents.learning.categoricals import Categoricals
from agents.learning.export import freeze, read_layers
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata


class SACDiscretePolicy(BasePolicy):
    """An actor with a head per axis, and two branching critics with their targets."""

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.MultiDiscrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        **settings: Any,
    ) -> None:
        """Create all networks and the optimisers."""
        super().__init__(observation_space, action_space, **settings)
        self.net_arch = net_arch or [128, 128]
        self.choices = Categoricals(action_space.nvec.tolist())
        sizes, n_inputs, widths = self.choices.sizes, n_fields(self), self.net_arch
        self.actor = nn.Sequential(*perceptron(n_inputs, widths), nn.Linear(widths[-1], sum(sizes)))
        self.critics = nn.ModuleList(BranchingQNetwork(n_inputs, sizes, widths) for _ in range(2))
        self.targets = nn.ModuleList(BranchingQNetwork(n_inputs, sizes, widths) for _ in range(2))
        self.targets.load_state_dict(self.critics.state_dict())
        self.targets.requires_grad_(requires_grad=False)
        rate = lr_schedule(1)
        self.optimizer = torch.optim.Adam(self.actor.parameters(), rate, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critics.parameters(), rate, fused=True)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        logits = self.actor(observation)
        if deterministic:
            return self.choices.mode(logits)
        return self.choices.sample(self.choices.log_softmax(logits).exp())


class SACDiscrete(FactoredOffPolicy):
    """Discrete soft actor-critic, all expectations over an axis's choices exact."""

    policy: SACDiscretePolicy
    policy_aliases = {"MlpPolicy": SACDiscretePolicy}  # noqa: RUF012 - declared so by SB3

    def __init__(
        self,
        policy: str,
        env: Any,
        *,
        temperature: float = 0.05,
        final_temperature: float = 0.002,
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        """Create the agent.

        Args:
            policy: "MlpPolicy".
            env: with `MultiDiscrete` actions.
            temperature: weight of the entropy at the beginning.
            final_temperature: at the end; falls geometrically.
            _init_setup_model: build the networks now, as SB3's `load` does not.
            settings: of `OffPolicyAlgorithm`.
        """
        super().__init__(policy, env, **settings)
        self.temperature, self.final_temperature = temperature, final_temperature
        if _init_setup_model:
            self._setup_model()

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Update critics and actor."""
        self._update_learning_rate([self.policy.optimizer, self.policy.critic_optimizer])
        done = min(1.0 - self._current_progress_remaining, 1.0)
        temperature = self.temperature * (self.final_temperature / self.temperature) ** done
        losses = [self._update(batch_size, temperature) for _ in range(gradient_steps)]
        self._n_updates += gradient_steps
        critic_loss, actor_loss = np.mean(losses, axis=0)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/critic_loss", float(critic_loss))
        self.logger.record("train/actor_loss", float(actor_loss))
        self.logger.record("train/ent_coef", temperature)

    def _update(self, batch_size: int, temperature: float) -> tuple[float, float]:
        if self.replay_buffer is None:
            raise RuntimeError("the agent was loaded to decide only; give it an environment")
        batch = self.replay_buffer.sample(batch_size)
        policy, choices = self.policy, self.choices
        with torch.no_grad():
            following = self._soft_value(batch.next_observations, temperature)
            discounts = self.gamma if batch.discounts is None else batch.discounts
            target = batch.rewards + (1.0 - batch.dones) * discounts * following
        picks = batch.actions.long() + choices.offsets
        errors = [
            nn.functional.smooth_l1_loss(critic.total(batch.observations, picks), target)
            for critic in _networks(policy.critics)
        ]
        critic_loss = torch.stack(errors).sum()
        policy.critic_optimizer.zero_grad()
        torch.autograd.backward(critic_loss)
        policy.critic_optimizer.step()

        scores = choices.scores(policy.actor(batch.observations))
        with torch.no_grad():
            worth = torch.minimum(
                *(critic(batch.observations) for critic in _networks(policy.critics))
            )
        actor_loss = (scores.p * (temperature * scores.log_p - worth)).sum(dim=1).mean()
        policy.optimizer.zero_grad()
        torch.autograd.backward(actor_loss)
        policy.optimizer.step()
        polyak_update(policy.critics.parameters(), policy.targets.parameters(), self.tau)
        return float(critic_loss.detach()), float(actor_loss.detach())

    def _soft_value(self, observations: Tensor, temperature: float) -> Tensor:
        """Worth of the actor's distribution, shape (n, 1)."""
        scores = self.choices.scores(self.policy.actor(observations))
        values = []
        for target in _networks(self.policy.targets):
            level, advantages = target.parts(observations)
            values.append(level + (scores.p * advantages).sum(dim=1, keepdim=True))
        surprise = (scores.p * scores.log_p).sum(dim=1, keepdim=True)
        value: Tensor = torch.minimum(*values) - temperature * surprise
        return value

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer", "policy.critic_optimizer"], []


def _networks(modules: nn.ModuleList) -> list[BranchingQNetwork]:
    return [module for module in modules if isinstance(module, BranchingQNetwork)]


def _freeze(agent: SACDiscrete, metadata: PolicyMetadata) -> FrozenPolicy:
    return freeze(agent, metadata, *read_layers([*agent.policy.actor]))


RECIPE = Algorithm(
    agent_class=SACDiscrete,
    n_envs=64,
    total_timesteps=200_000,
    settings=SETTINGS,
    freeze=_freeze,
    search=SAC_DISCRETE,
)
