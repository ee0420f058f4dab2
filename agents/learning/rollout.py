"""Rollout buffer: the steps of a batch of boards between two updates of an on-policy learner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Minibatch:
    """Some of the transitions; tensors of shape (n, ..)."""

    observations: Tensor
    actions: Tensor
    log_prob: Tensor
    advantages: Tensor
    returns: Tensor


class Rollout:
    """Transitions of `n_envs` boards over `n_steps`, kept as tensors."""

    def __init__(self, n_steps: int, n_envs: int, n_fields: int, n_axes: int) -> None:
        """Allocate."""
        self.observations = torch.empty(n_steps, n_envs, n_fields)
        self.actions = torch.empty(n_steps, n_envs, n_axes, dtype=torch.int64)
        self.log_prob = torch.empty(n_steps, n_envs)
        self.rewards = torch.empty(n_steps, n_envs)
        self.ended = torch.empty(n_steps, n_envs)
        self.advantages = torch.empty(n_steps, n_envs)
        self.returns = torch.empty(n_steps, n_envs)

    def estimate(self, values: Tensor, last_values: Tensor, gamma: float, lam: float) -> None:
        """Fill advantages and returns (Schulman et al. 2016, arXiv 1506.02438).

        Args:
            values: of the observations, shape (n_steps, n_envs).
            last_values: of the state after the last step, shape (n_envs,).
            gamma: discount.
            lam: of the generalised advantage estimate.
        """
        advantage = torch.zeros_like(last_values)
        following = last_values
        for t in reversed(range(len(values))):
            going_on = 1.0 - self.ended[t]
            delta = self.rewards[t] + gamma * following * going_on - values[t]
            advantage = delta + gamma * lam * going_on * advantage
            self.advantages[t] = advantage
            following = values[t]
        self.returns = self.advantages + values

    def minibatches(self, size: int) -> Iterator[Minibatch]:
        """Yield every transition once, shuffled."""
        flat = Minibatch(*(getattr(self, f.name).flatten(0, 1) for f in fields(Minibatch)))
        order = torch.randperm(len(flat.returns))
        for picks in torch.split(order, size):
            yield Minibatch(
                *(getattr(flat, f.name).index_select(0, picks) for f in fields(Minibatch))
            )
