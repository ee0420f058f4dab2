"""Branching dueling Q-network over the action axes, DVFO's learner.

After Tavakoli et al. (AAAI 2018, arXiv 1711.08946): a shared trunk, one state value, and one
advantage per choice of each axis, so that the outputs are the sum of the axes' sizes, not their
product; double Q-learning. Chosen here: the value of a whole action is the state's value plus the
sum of its axes' advantages (as Sunehag et al. 2018, arXiv 1706.05296, add agents' values), where
the paper holds each axis to the target by itself, which charges it with what the others explore.
Prioritised replay is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule, polyak_update
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from agents.learners.algorithm import Algorithm
from agents.learners.off_policy import SETTINGS, FactoredOffPolicy, n_fields, perceptron
from agents.learners.search_space import Q_LEARNING
from agents.learning.categoricals import Categoricals
from agents.learning.export import freeze, read_layers
from agents.learning.selection_time import SelectionTimeDiscount
from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata


class BranchingQNetwork(nn.Module):
    """From observations to Q-values of each axis's choices."""

    seen: Tensor
    averaging: Tensor

    def __init__(
        self, n_inputs: int, sizes: Sequence[int], widths: list[int], unseen: Sequence[int] = ()
    ) -> None:
        """Create the network.

        Args:
            n_inputs: length of the observation.
            sizes: choices per axis.
            widths: of the trunk's layers.
            unseen: entries of the observation that are hidden from it.
        """
        super().__init__()
        self.sizes = list(sizes)
        self.trunk = perceptron(n_inputs, widths)
        self.value = nn.Linear(widths[-1], 1)
        self.branches = nn.ModuleList(nn.Linear(widths[-1], size) for size in sizes)
        seen = torch.ones(n_inputs)
        seen[list(unseen)] = 0.0
        self.register_buffer("seen", seen)
        axis_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(self.sizes))
        together = (axis_of[:, None] == axis_of).float()
        self.register_buffer("averaging", together / together.sum(dim=0))

    def forward(self, observations: Tensor) -> Tensor:
        """Q-values, shape (n, sum of the sizes); each axis's mean is the state's value."""
        level, advantages = self.parts(observations)
        return level + advantages

    def parts(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """The state's value, shape (n, 1), and advantages, whose mean over each axis is zero."""
        hidden = self.trunk(observations * self.seen)
        # One product for all branches, and one that takes each axis's mean off.
        layers = [branch for branch in self.branches if isinstance(branch, nn.Linear)]
        weight = torch.cat([layer.weight for layer in layers])
        bias = torch.cat([layer.bias for layer in layers])
        advantages = nn.functional.linear(hidden, weight, bias)
        return self.value(hidden), advantages - advantages @ self.averaging

    def total(self, observations: Tensor, picks: Tensor) -> Tensor:
        """Q-value of whole actions, shape (n, 1); `picks` are columns, shape (n, n_axes)."""
        level, advantages = self.parts(observations)
        worth: Tensor = level + advantages.gather(1, picks).sum(dim=1, keepdim=True)
        return worth


class BranchingPolicy(BasePolicy):
    """Greedy over each axis's Q-values."""

    def __init__(
        self,
        observation_space: spaces.Box,
        action_space: spaces.MultiDiscrete,
        lr_schedule: Schedule,
        net_arch: list[int] | None = None,
        unseen: Sequence[int] = (),
        **settings: Any,
    ) -> None:
        """Create both networks and the optimiser."""
        super().__init__(observation_space, action_space, **settings)
        self.net_arch, self.unseen = net_arch or [128, 128], tuple(unseen)
        self.choices = Categoricals(action_space.nvec.tolist())
        arguments = (n_fields(self), self.choices.sizes, self.net_arch, self.unseen)
        self.q_net, self.q_net_target = (BranchingQNetwork(*arguments) for _ in range(2))
        self.q_net_target.load_state_dict(self.q_net.state_dict())
        self.q_net_target.requires_grad_(requires_grad=False)
        self.optimizer = torch.optim.Adam(self.q_net.parameters(), lr_schedule(1), fused=True)

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self.choices.mode(self.q_net(observation))


class BranchingDQN(FactoredOffPolicy):
    """Double Q-learning of a branching network with exploration per axis.

    Attributes:
        anchor: network whose advantages are held on to as far as experience does not speak against
            them; None begins with nothing to hold on to.
    """

    policy: BranchingPolicy
    anchor: BranchingQNetwork | None = None

    def __init__(
        self,
        policy: str,
        env: Any,
        *,
        exploration_fraction: float = 0.5,
        exploration_final_eps: float = 0.02,
        initial_eps: float = 1.0,
        max_grad_norm: float = 10.0,
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        """Create the agent.

        Args:
            policy: "MlpPolicy".
            env: with `MultiDiscrete` actions.
            exploration_fraction: of the training during which exploration falls.
            exploration_final_eps: chance of each axis to be set at random afterwards.
            initial_eps: the same at the beginning.
            max_grad_norm: longer gradients are shortened.
            _init_setup_model: build the networks now, as SB3's `load` does not.
            settings: of `OffPolicyAlgorithm`.
        """
        super().__init__(policy, env, **settings)
        self.exploration_fraction = exploration_fraction
        self.exploration_final_eps = exploration_final_eps
        self.initial_eps = initial_eps
        self.max_grad_norm = max_grad_norm
        self.exploration_rate = 0.0
        if _init_setup_model:
            self._setup_model()

    policy_aliases = {"MlpPolicy": BranchingPolicy}  # noqa: RUF012 - declared so by SB3

    def _setup_model(self) -> None:
        super()._setup_model()
        self._exploration = LinearSchedule(
            self.initial_eps, self.exploration_final_eps, self.exploration_fraction
        )

    def predict(
        self,
        observation: Any,
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Choose greedily; while exploring, set each axis at random now and then."""
        actions, state = self.policy.predict(observation, state, episode_start, deterministic)
        if not deterministic:
            drawn = np.random.randint(0, self.choices.sizes, actions.shape)
            at_random = np.random.random(actions.shape) < self.exploration_rate
            actions = np.where(at_random, drawn, actions)
        return actions, state

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """Update the network."""
        self._update_learning_rate(self.policy.optimizer)
        losses = [self._update(batch_size) for _ in range(gradient_steps)]
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(np.mean(losses)))

    def rehearse(self, n_updates: int) -> None:
        """Learn from what is remembered, before the first step."""
        for _ in range(n_updates):
            self._update(self.batch_size)

    def _on_step(self) -> None:
        self.exploration_rate = self._exploration(self._current_progress_remaining)
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _update(self, batch_size: int) -> float:
        if self.replay_buffer is None:
            raise RuntimeError("the agent was loaded to decide only; give it an environment")
        batch = self.replay_buffer.sample(batch_size)
        policy, offsets = self.policy, self.choices.offsets
        with torch.no_grad():
            best = self.choices.mode(policy.q_net(batch.next_observations)) + offsets
            following = policy.q_net_target.total(batch.next_observations, best)
            discounts = self.gamma if batch.discounts is None else batch.discounts
            target = batch.rewards + (1.0 - batch.dones) * discounts * following
        q = policy.q_net.total(batch.observations, batch.actions.long() + offsets)
        loss = nn.functional.smooth_l1_loss(q, target)
        if self.anchor is not None:
            loss = loss + self._strayed(self.anchor, batch.observations)
        policy.optimizer.zero_grad()
        torch.autograd.backward(loss)
        clip_grad_norm_(policy.q_net.parameters(), self.max_grad_norm)
        policy.optimizer.step()
        polyak_update(policy.q_net.parameters(), policy.q_net_target.parameters(), self.tau)
        return float(loss.detach())

    def _strayed(self, anchor: BranchingQNetwork, observations: Tensor) -> Tensor:
        """Mean square by which the advantages differ from the anchor's."""
        with torch.no_grad():
            held = anchor.parts(observations)[1]
        return (self.policy.q_net.parts(observations)[1] - held).square().mean()

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "anchor"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "policy.optimizer"], []


def _freeze(agent: BranchingDQN, metadata: PolicyMetadata) -> FrozenPolicy:
    """Put the branches side by side; the state's value shifts all choices of an axis alike."""
    network = agent.policy.q_net
    (first, *others), activation = read_layers([*network.trunk])
    seen: NDArray[np.float32] = network.seen.detach().numpy()
    layers = [branch for branch in network.branches if isinstance(branch, nn.Linear)]
    branches = [[p.detach().numpy() for p in (b.weight, b.bias)] for b in layers]
    weight, bias = (np.concatenate(parts) for parts in zip(*branches, strict=True))
    return freeze(
        agent, metadata, [(first[0] * seen, first[1]), *others, (weight, bias)], activation
    )


RECIPE = Algorithm(
    agent_class=BranchingDQN,
    n_envs=64,
    total_timesteps=400_000,
    settings=SETTINGS,
    freeze=_freeze,
    search=Q_LEARNING,
)
OWN_STATE = ("cpu_hz", "gpu_hz", "emc_hz", "edge_share", "decision_s")
"""Observations of concurrent decisions ("thinking while moving"): the action in force, and t_AS."""
UNAWARE = replace(RECIPE, unseen=OWN_STATE)
FORESEEING = replace(RECIPE, settings={**SETTINGS, "gamma": 0.5})
"""Looks ahead: discounts can be told apart only where there is one."""
SELECTION_DISCOUNT = replace(
    FORESEEING, wrapper=lambda env, boards, _seed: SelectionTimeDiscount(env, boards.fleet.world)
)
