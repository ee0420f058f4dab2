"""One categorical distribution per action axis, computed for all axes at once from fused logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scores:
    """What a batch of logits says; `n_out` is the sum of all axes' sizes.

    Attributes:
        log_p: logarithm of each choice's probability, shape (n, n_out).
        p: the probabilities.
        entropy: of each axis, nats, shape (n, n_axes).
    """

    log_p: Tensor
    p: Tensor
    entropy: Tensor


class Categoricals:
    """Independent categorical distributions over blocks of a row of logits."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Remember the number of choices per axis."""
        self.sizes = [int(size) for size in sizes]
        ends = torch.tensor(self.sizes).cumsum(0)
        self.offsets = ends - torch.tensor(self.sizes)
        self._axis_of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(self.sizes))
        self._members = torch.nn.functional.one_hot(self._axis_of, len(self.sizes)).float()
        self._up_to = (self._members @ self._members.T).triu()
        self._last = torch.tensor(self.sizes) - 1

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Normalise each block, shape (n, n_out)."""
        blocks = torch.split(logits, self.sizes, dim=1)
        tops = torch.stack([block.amax(dim=1) for block in blocks], dim=1)
        shifted = logits - self.spread(tops)
        log_z = (shifted.exp() @ self._members).log()
        return shifted - self.spread(log_z)

    def scores(self, logits: Tensor) -> Scores:
        """Probabilities and entropies."""
        log_p = self.log_softmax(logits)
        p = log_p.exp()
        return Scores(log_p, p, -(p * log_p) @ self._members)

    def log_prob(self, log_p: Tensor, actions: Tensor) -> Tensor:
        """Logarithm of the probability of whole actions, shape (n,); actions (n, n_axes)."""
        return log_p.gather(1, actions + self.offsets).sum(dim=1)

    def sample(self, p: Tensor) -> Tensor:
        """Draw one action per row, shape (n, n_axes), by inverting each axis's distribution."""
        draws = torch.rand(len(p), len(self.sizes))
        passed = (p @ self._up_to) < self.spread(draws)
        return (passed.float() @ self._members).long().minimum(self._last)

    def mode(self, logits: Tensor) -> Tensor:
        """Likeliest action per row, shape (n, n_axes)."""
        blocks = torch.split(logits, self.sizes, dim=1)
        return torch.stack([block.argmax(dim=1) for block in blocks], dim=1)

    def spread(self, per_axis: Tensor) -> Tensor:
        """Repeat a value per axis for each of its choices, shape (n, n_out)."""
        return per_axis @ self._members.T  # a sum with one term; faster than to pick columns

    def one_hot(self, actions: Tensor) -> Tensor:
        """Ones at the chosen places, shape (n, n_out)."""
        flags = torch.zeros(len(actions), len(self._axis_of))
        return flags.scatter_(1, actions + self.offsets, 1.0)
