"""From a network's outputs to an action, for frozen policies: numpy only."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policy.thermal_mask import ThermalActionMask
from envs.plant import Indices
from envs.spaces import ActionDecoder

Outputs = NDArray[np.float32]


class Head(Protocol):
    """Chooses actions by the outputs of a network.

    Attributes:
        n_outputs: that the network must have.
    """

    n_outputs: int

    def one(self, outputs: Outputs, observation: Outputs) -> Indices:
        """Choose by one row of outputs, result (n_axes,), valid until the next call."""

    def batch(self, outputs: Outputs, observations: Outputs) -> Indices:
        """Choose by outputs of shape (n, n_outputs), result (n, n_axes)."""


class CategoricalHead:
    """A block of scores per axis; the best of each block, of those that a guard leaves."""

    def __init__(self, sizes: NDArray[np.int64], guard: ThermalActionMask | None = None) -> None:
        """Prepare for axes with so many choices."""
        self.n_outputs = int(sizes.sum())
        ends = np.cumsum(sizes)
        self._blocks = [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]
        self._indices = np.empty(len(sizes), dtype=np.int64)
        self._guard = guard

    def one(self, outputs: Outputs, observation: Outputs) -> Indices:
        """Take the best of each block."""
        if self._guard and self._guard.is_near(observation):
            self._indices[:] = self.batch(outputs[None], observation[None])[0]
            return self._indices
        for axis, block in enumerate(self._blocks):
            self._indices[axis] = outputs[block].argmax()
        return self._indices

    def batch(self, outputs: Outputs, observations: Outputs) -> Indices:
        """Take the best of each block and row."""
        if self._guard:
            outputs = np.where(self._guard.allowed(observations), outputs, -np.inf)
        return np.stack([outputs[:, block].argmax(axis=1) for block in self._blocks], axis=1)


class BoxHead:
    """A number per axis, squashed and cut into equal bins."""

    def __init__(self, decoder: ActionDecoder) -> None:
        """Prepare for the decoder's axes."""
        self.n_outputs = len(decoder.sizes)
        self._decoder = decoder
        self._indices = np.empty(self.n_outputs, dtype=np.int64)

    def one(self, outputs: Outputs, observation: Outputs) -> Indices:
        """Find the bins."""
        self._indices[:] = self._decoder.from_box(np.tanh(outputs)[None])[0]
        return self._indices

    def batch(self, outputs: Outputs, observations: Outputs) -> Indices:
        """Find the bins of each row."""
        return self._decoder.from_box(np.tanh(outputs))


class TableHead:
    """A score per action of a list."""

    def __init__(self, table: Indices) -> None:
        """Prepare for a list of actions, shape (k, n_axes)."""
        self.n_outputs = len(table)
        self._table = table

    def one(self, outputs: Outputs, observation: Outputs) -> Indices:
        """Take the best action."""
        best: Indices = self._table[outputs.argmax()]
        return best

    def batch(self, outputs: Outputs, observations: Outputs) -> Indices:
        """Take the best action of each row."""
        best: Indices = self._table[outputs.argmax(axis=1)]
        return best
