"""Decoding of a frozen policy's outputs into an action: numpy only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.errors import PolicyError
from agents.policy.metadata import PolicyMetadata
from envs.errors import ActionError
from envs.plant import Indices
from envs.spaces import ActionDecoder

Outputs = NDArray[np.float32]


class Head(Protocol):
    """Chooses actions by the outputs of a network.

    Attributes:
        n_outputs: that the network must have.
    """

    n_outputs: int

    def one(self, outputs: Outputs) -> Indices:
        """Choose by one row of outputs, result (n_axes,), valid until the next call."""

    def batch(self, outputs: Outputs) -> Indices:
        """Choose by outputs of shape (n, n_outputs), result (n, n_axes)."""

    def from_agent(self, actions: NDArray[Any]) -> Indices:
        """Read what an agent that is trained for the head predicts, n rows; result (n, n_axes)."""


class CategoricalHead:
    """A block of scores per axis; the best of each block."""

    def __init__(self, metadata: PolicyMetadata) -> None:
        """Prepare for the axes of a policy."""
        self._decoder = ActionDecoder(metadata.layout.axes)
        sizes = self._decoder.sizes
        self.n_outputs = int(sizes.sum())
        ends = np.cumsum(sizes)
        self._blocks = [slice(int(e - s), int(e)) for s, e in zip(sizes, ends, strict=True)]
        self._indices = np.empty(len(sizes), dtype=np.int64)

    def one(self, outputs: Outputs) -> Indices:
        """Take the best of each block."""
        for axis, block in enumerate(self._blocks):
            self._indices[axis] = outputs[block].argmax()
        return self._indices

    def batch(self, outputs: Outputs) -> Indices:
        """Take the best of each block and row."""
        return np.stack([outputs[:, block].argmax(axis=1) for block in self._blocks], axis=1)

    def from_agent(self, actions: NDArray[Any]) -> Indices:
        """Take indices, one per axis."""
        return self._decoder.from_indices(actions)


class BoxHead:
    """A number per axis, brought into [-1, 1] and cut into equal bins."""

    def __init__(self, metadata: PolicyMetadata) -> None:
        """Prepare for the axes of a policy."""
        self._bound = np.tanh if metadata.head == "box" else _clipped
        self._decoder = ActionDecoder(metadata.layout.axes)
        self.n_outputs = len(self._decoder.sizes)
        self._indices = np.empty(self.n_outputs, dtype=np.int64)

    def one(self, outputs: Outputs) -> Indices:
        """Find the bins."""
        self._indices[:] = self._decoder.from_box(self._bound(outputs)[None])[0]
        return self._indices

    def batch(self, outputs: Outputs) -> Indices:
        """Find the bins of each row."""
        return self._decoder.from_box(self._bound(outputs))

    def from_agent(self, actions: NDArray[Any]) -> Indices:
        """Take numbers that are within [-1, 1] already."""
        return self._decoder.from_box(actions)


def _clipped(outputs: Outputs) -> Outputs:
    return np.clip(outputs, -1.0, 1.0)


class TableHead:
    """A score per action of a list."""

    def __init__(self, metadata: PolicyMetadata) -> None:
        """Prepare for the listed actions of a policy.

        Raises:
            PolicyError: a listed action is outside the axes.
        """
        decoder = ActionDecoder(metadata.layout.axes)
        try:
            self._table = decoder.from_indices(np.array(metadata.table, dtype=np.int64))
        except ActionError as error:
            raise PolicyError(f"the table of actions is damaged: {error}") from None
        self.n_outputs = len(self._table)

    def one(self, outputs: Outputs) -> Indices:
        """Take the best action."""
        best: Indices = self._table[outputs.argmax()]
        return best

    def batch(self, outputs: Outputs) -> Indices:
        """Take the best action of each row."""
        best: Indices = self._table[outputs.argmax(axis=1)]
        return best

    def from_agent(self, actions: NDArray[Any]) -> Indices:
        """Look numbers on the list up."""
        listed: Indices = self._table[actions]
        return listed


HEADS: dict[str, Callable[[PolicyMetadata], Head]] = {
    "categorical": CategoricalHead,
    "box": BoxHead,
    "clipped-box": BoxHead,
    "table": TableHead,
}


def head_of(metadata: PolicyMetadata) -> Head:
    """Build what turns the outputs of a policy's network into actions.

    Raises:
        PolicyError: a listed action is outside the axes.
    """
    return HEADS[metadata.head](metadata)
