"""Full-information learning: the cost of every action of a portfolio, not only of the one taken.

A simulated board can be asked for all outcomes of a step, so that the gradient of the expected
cost is exact for each state that is met (the all-action policy gradient, Sutton et al. 2001), where
PPO estimates it from single draws. Only what an action does to later steps is estimated as PPO
does: by an advantage (Schulman et al. 2016, arXiv 1506.02438) of later costs over those of the
best action at rest, which no decision could have changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.advised.policy import SHARPNESS
from agents.advised.portfolio import PORTFOLIO, collect_states, complementary
from agents.advised.rule import advised_rule
from agents.advised.vec_env import AdvisedBoards
from agents.deciders.base import Decider
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Rule
from agents.learners.algorithm import Algorithm, linear_to_zero
from agents.learners.search_space import ON_POLICY
from agents.policy.layers import Layers
from agents.policy.metadata import PolicyMetadata
from agents.policy.saved_rule import SavedRule
from agents.seeds import search_seeds
from envs.sim.sim_config import SimConfig
from envs.vec_env import EdgeSplitVecEnv

SMALL = 0.005
"""Standard deviation of the last weights in the beginning."""


class AdvicePolicy(ActorCriticPolicy):
    """Corrects the scores that the advice gives, and in the beginning hardly does."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        nn.init.normal_(self.action_net.get_parameter("weight"), std=SMALL)
        nn.init.zeros_(self.action_net.get_parameter("bias"))
        self.actor = nn.Sequential(*self.mlp_extractor.policy_net, self.action_net)
        self.critic = nn.Sequential(*self.mlp_extractor.value_net, self.value_net)

    def scores(self, inputs: Tensor) -> Tensor:
        """Score the portfolio, shape (n, k)."""
        corrections: Tensor = self.actor(inputs)
        return corrections - SHARPNESS * inputs[:, -corrections.shape[1] :]

    def get_distribution(self, obs: PyTorchObs) -> Any:
        """Draw by the scores."""
        return self.action_dist.proba_distribution(self.scores(obs))  # type: ignore[arg-type]

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Choose; returns actions, values and the logarithms of the actions' probabilities."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: PyTorchObs, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, logarithms of the actions' probabilities, and entropies."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()

    def layers(self) -> Layers:
        """Weights and biases of the corrections."""
        linear = [layer for layer in self.actor if isinstance(layer, nn.Linear)]
        return [(f.weight.detach().numpy().copy(), f.bias.detach().numpy().copy()) for f in linear]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A few steps of all boards; tensors of shape (n, ..), n = n_steps * n_envs.

    Attributes:
        inputs: of the network.
        costs: logarithms, of every action, shape (n, k).
        chosen: number of the action that was taken.
        log_p: logarithm of its probability.
        foresees: whether later steps are known.
        advantages: of what followed, where it is known.
        returns: discounted sums of what followed, where it is known.
    """

    inputs: Tensor
    costs: Tensor
    chosen: Tensor
    log_p: Tensor
    foresees: Tensor
    advantages: Tensor
    returns: Tensor

    def pick(self, picks: Tensor) -> Stretch:
        """Some of the states."""
        return Stretch(*(getattr(self, f.name)[picks] for f in fields(self)))


class FullInformation(OnPolicyAlgorithm):
    """Teaches the network of `agents.advised.policy.Advised`, on `AdvisedBoards`."""

    policy: AdvicePolicy
    policy_aliases = {"MlpPolicy": AdvicePolicy}  # noqa: RUF012 - declared so by SB3

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        learning_rate: float | Schedule = 4e-3,
        n_steps: int = 10,
        batch_size: int = 1200,
        n_epochs: int = 2,
        clip_range: float = 0.2,
        gamma: float = 0.8,
        gae_lambda: float = 0.95,
        future: float = 0.5,
        temperature: tuple[float, float] = (0.01, 0.0003),
        dwell_steps: float = 4.0,
        max_grad_norm: float = 0.5,
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        """Create the agent.

        Args:
            policy: "MlpPolicy".
            env: simulated boards that give advice.
            learning_rate: of Adam.
            n_steps: of each board between updates.
            batch_size: states per update.
            n_epochs: passes over all states before new ones are gathered.
            clip_range: of the ratio of probabilities, where later steps are concerned.
            gamma: discount of later steps.
            gae_lambda: of their advantage.
            future: weight of later steps against the present one.
            temperature: weight of the entropy at beginning and end, in units of the cost's
                logarithm.
            dwell_steps: a switch is weighed as if the state lasted so many steps.
            max_grad_norm: largest gradient of the corrections.
            settings: of Stable-Baselines3.
        """
        self.batch_size, self.n_epochs = batch_size, n_epochs
        self.clip_range, self.future = clip_range, future
        self.temperature, self.dwell_steps = temperature, dwell_steps
        super().__init__(
            policy,
            env,
            learning_rate,
            n_steps,
            gamma,
            gae_lambda,
            ent_coef=0.0,  # the temperature stands for it
            vf_coef=1.0,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            supported_action_spaces=(spaces.Discrete,),
            _init_setup_model=_init_setup_model,
            **settings,
        )

    def rule(self) -> Rule:
        """What drives a board; it explores no more.

        Raises:
            TypeError: the agent has no boards, from which it takes its actions.
        """
        return advised_rule(_advised(self.env).actions, self.policy.layers())

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_stretch"]

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """Step all boards, and ask for what was not done as well."""
        boards = _advised(env)
        callback.on_rollout_start()
        inputs, costs, chosen, log_ps, rewards, ended = [], [], [], [], [], []
        for _ in range(n_rollout_steps):
            inputs.append(torch.from_numpy(self._last_obs))
            costs.append(torch.from_numpy(boards.log_costs(self.dwell_steps)))
            best = boards.least_log_cost()
            with torch.no_grad():
                log_p = self.policy.scores(inputs[-1]).log_softmax(dim=1)
            picks = torch.multinomial(log_p.exp(), 1)
            chosen.append(picks[:, 0])
            log_ps.append(log_p.gather(1, picks)[:, 0])
            self._last_obs, reward, dones, infos = env.step(chosen[-1].numpy())  # type: ignore[assignment]
            rewards.append(torch.from_numpy(reward + best))
            ended.append(torch.from_numpy(dones))
            if dones.any():
                self._update_info_buffer(infos, dones)
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
        parts = (torch.stack(part) for part in (inputs, costs, chosen, log_ps, rewards, ended))
        self._stretch = self._look_ahead(*parts)
        callback.on_rollout_end()
        return True

    def _look_ahead(
        self,
        inputs: Tensor,
        costs: Tensor,
        chosen: Tensor,
        log_p: Tensor,
        rewards: Tensor,
        ended: Tensor,
    ) -> Stretch:
        """Advantages and returns of later steps; tensors of shape (n_steps, n_envs, ..)."""
        with torch.no_grad():
            values = self.policy.critic(inputs)[..., 0]
        advantages = torch.zeros_like(values)
        foresees = ~ended
        foresees[-1] = False
        for t in reversed(range(len(values) - 1)):
            following = rewards[t + 1] + values[t + 1] + self.gae_lambda * advantages[t + 1]
            advantages[t] = foresees[t] * (self.gamma * following - values[t])
        parts = (inputs, costs, chosen, log_p, foresees, advantages, advantages + values)
        return Stretch(*(part.flatten(0, 1) for part in parts))

    def train(self) -> None:
        """Update on every state `n_epochs` times."""
        self._update_learning_rate(self.policy.optimizer)
        first, last = self.temperature
        temperature = last * (first / last) ** max(self._current_progress_remaining, 0.0)
        found = []
        for _ in range(self.n_epochs):
            order = torch.randperm(len(self._stretch.inputs))
            for picks in torch.split(order, self.batch_size):
                found.append(self._update(self._stretch.pick(picks), temperature))
        self._n_updates += self.n_epochs
        log_costs, errors = zip(*found, strict=True)
        self.logger.record("train/expected_cost", float(np.exp(np.mean(log_costs))))
        self.logger.record("train/value_loss", float(np.mean(errors)))
        self.logger.record("train/temperature", temperature)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _update(self, batch: Stretch, temperature: float) -> tuple[float, float]:
        """One step of the optimiser.

        Returns:
            Logarithm of the cost that the policy expects, and the loss of the values.
        """
        log_p = self.policy.scores(batch.inputs).log_softmax(dim=1)
        p = log_p.exp()
        now = (p * (batch.costs + temperature * log_p)).sum(dim=1).mean()
        taken = log_p.gather(1, batch.chosen[:, None])[:, 0]
        ratio = (taken - batch.log_p).exp()
        clipped = ratio.clamp(1.0 - self.clip_range, 1.0 + self.clip_range)
        gains = torch.minimum(ratio * batch.advantages, clipped * batch.advantages)
        later = -gains.mean()  # zero where nothing later is known
        values = self.policy.critic(batch.inputs)[batch.foresees, 0]
        error = (values - batch.returns[batch.foresees]).square().mean()
        self.policy.optimizer.zero_grad()
        torch.autograd.backward(now + self.future * later + self.vf_coef * error)
        nn.utils.clip_grad_norm_(self.policy.actor.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return float((p * batch.costs).sum(dim=1).mean().detach()), float(error.detach())


def _advised(env: Any) -> AdvisedBoards:
    if not isinstance(env, AdvisedBoards):
        raise TypeError(f"{type(env).__name__} does not report what all actions would cost")
    return env


def advise(
    env: VecEnv, boards: EdgeSplitVecEnv, seed: int, n_actions: int = PORTFOLIO
) -> AdvisedBoards:
    """Let the agent choose from complementary actions, by the advice of the nominal models."""
    world = boards.fleet.world
    known, states = NominalModel.of(world), collect_states(world, search_seeds(seed))
    return AdvisedBoards(env, boards.fleet, complementary(known, states, n_actions))


def _freeze(agent: FullInformation, metadata: PolicyMetadata) -> SavedRule:
    return SavedRule(metadata.algorithm, agent.rule(), metadata.layout)


def _decider(agent: FullInformation, _metadata: PolicyMetadata, world: SimConfig) -> Decider:
    return agent.rule().build(NominalModel.of(world))


# A look ahead of a second: more helps where a server's load lasts and adds noise elsewhere. Of the
# gap from static to oracle, 0.1 M steps closed 91.1 %, 0.3 M 92.0 %, 1 M 92.7 % and 3 M 93.4 % (one
# seed; advice alone 91.5 %).
RECIPE = Algorithm(
    agent_class=FullInformation,
    n_envs=960,
    total_timesteps=3_004_800,
    settings={
        "learning_rate": linear_to_zero(4e-3),
        "n_steps": 10,
        "batch_size": 1200,
        "policy_kwargs": {
            "net_arch": {"pi": [128, 128], "vf": [64, 64]},
            "activation_fn": nn.ReLU,
            "ortho_init": False,
            "optimizer_kwargs": {"fused": True, "eps": 1e-8},
        },
    },
    freeze=_freeze,
    decider=_decider,
    wrapper=advise,
    search=ON_POLICY,
)
