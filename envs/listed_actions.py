"""Actions by number, for algorithms that choose among `Discrete` ones only (DQN)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from envs.edge_env import EdgeSplitEnv
from envs.errors import EnvError
from envs.plant import Indices, Layout
from envs.spaces import ActionDecoder

MAX_ACTIONS = 512
"""A Q-value per action is still learned for so many."""
MAX_ROUTES = 8


def thinned_table(layout: Layout) -> Indices:
    """List evenly spread clocks and routes, at most `MAX_ACTIONS` together, shape (k, n_axes).

    Routes are kept as far as `MAX_ROUTES` go, then the longest clock tables are thinned first.
    """
    levels = [len(axis.values) for axis in layout.axes]
    levels[-1] = min(levels[-1], MAX_ROUTES)
    while np.prod(levels) > MAX_ACTIONS:
        longest = int(np.argmax(levels[:-1]))
        levels[longest] -= 1
    spread = [
        np.unique(np.linspace(0, len(axis.values) - 1, n).round().astype(np.int64))
        for axis, n in zip(layout.axes, levels, strict=True)
    ]
    return np.stack([grid.ravel() for grid in np.meshgrid(*spread, indexing="ij")], axis=1)


class ListedActions(gymnasium.ActionWrapper[Any, Any, Any]):
    """`EdgeSplitEnv` with a `Discrete` space: the number of an action on a list.

    Attributes:
        table: the listed actions, an index per axis, shape (k, n_axes).
    """

    def __init__(self, env: gymnasium.Env[Any, Any], table: Indices | None = None) -> None:
        """Wrap an environment with `MultiDiscrete` actions.

        Args:
            env: of `gymnasium.make`.
            table: whole actions, shape (k, n_axes); `thinned_table` if not given.

        Raises:
            EnvError: another environment, or one with continuous actions.
            ActionError: an action outside its axes.
        """
        super().__init__(env)
        board = env.unwrapped
        if not isinstance(board, EdgeSplitEnv) or board.continuous:
            raise EnvError(f"{env} has no actions to list: make it with continuous=False")
        layout = board.plant.layout
        listed = thinned_table(layout) if table is None else np.asarray(table)
        self.table = ActionDecoder(layout.axes).from_indices(listed)
        self.action_space = spaces.Discrete(len(self.table))

    def action(self, action: Any) -> Indices:
        """Look a number up."""
        row: Indices = self.table[int(action)]
        return row
