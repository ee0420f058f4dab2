"""Actions of a board as an agent states them, and back: indices, numbers in bins, or a list's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.plant import Indices
from envs.spaces import ActionDecoder


class ActionCode(Protocol):
    """How an agent states an action.

    Attributes:
        space: of its actions.
    """

    space: spaces.Space[Any]

    def indices(self, action: NDArray[Any]) -> Indices:
        """What is meant, an index per axis, shape (n_axes,)."""

    def action(self, indices: Indices) -> NDArray[Any]:
        """How an agent states indices of shape (n_axes,), or those nearest to them that it can."""


class IndexCode:
    """An index per axis."""

    def __init__(self, sizes: Sequence[int]) -> None:
        """Take the sizes of the axes."""
        self.space: spaces.Space[Any] = spaces.MultiDiscrete(list(sizes))

    def indices(self, action: NDArray[Any]) -> Indices:
        """The same."""
        return np.asarray(action, np.int64)

    def action(self, indices: Indices) -> NDArray[Any]:
        """The same."""
        return indices


class BoxCode:
    """A number in [-1, 1] per axis, cut into equal bins."""

    def __init__(self, decoder: ActionDecoder) -> None:
        """Take the axes."""
        self._decoder = decoder
        self.space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (len(decoder.sizes),), np.float32)

    def indices(self, action: NDArray[Any]) -> Indices:
        """The bins."""
        bins: Indices = self._decoder.from_box(np.asarray(action)[None])[0]
        return bins

    def action(self, indices: Indices) -> NDArray[Any]:
        """Their middles."""
        return (2.0 * (indices + 0.5) / self._decoder.sizes - 1.0).astype(np.float32)


class ListCode:
    """The number of an action on a list."""

    def __init__(self, decoder: ActionDecoder, table: Indices) -> None:
        """Take the axes and the list, shape (k, n_axes)."""
        self._table, self._shares = table, table / decoder.sizes
        self._sizes = decoder.sizes
        self.space: spaces.Space[Any] = spaces.Discrete(len(table))

    def indices(self, action: NDArray[Any]) -> Indices:
        """What stands there."""
        row: Indices = self._table[int(action)]
        return row

    def action(self, indices: Indices) -> NDArray[Any]:
        """The number of the action that is nearest, each axis counting by its share."""
        apart = np.abs(self._shares - indices / self._sizes).sum(axis=1)
        return np.asarray(apart.argmin())


def code_of(head: str, decoder: ActionDecoder, table: Indices | None) -> ActionCode:
    """How agents with a head of `agents.policy.heads` state their actions.

    Args:
        head: its name.
        decoder: of the axes.
        table: the listed actions, for that head only.
    """
    if table is not None:
        return ListCode(decoder, table)
    return IndexCode(decoder.sizes.tolist()) if head == "categorical" else BoxCode(decoder)
