from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from envs.edge_env import EdgeSplitEnv
from envs.errors import ActionError, EnvError
from envs.listed_actions import MAX_ACTIONS, ListedActions, thinned_table
from envs.sim.batched_simulator import BatchedSimulator


@pytest.fixture
def env(world):
    return EdgeSplitEnv(BatchedSimulator(world, 1), world.objective())


def test_a_number_is_the_action_on_the_list(env):
    table = np.array([[0, 0, 0, 0], [3, 2, 1, 4]])
    listed = ListedActions(env, table)
    assert listed.action_space == spaces.Discrete(2)
    listed.reset(seed=0)
    info = listed.step(1)[4]
    assert info["route"] == 4
    axes = env.plant.layout.axes[:-1]
    assert list(info["requested"].values()) == [
        axis.values[i] for axis, i in zip(axes, (3, 2, 1), strict=True)
    ]


def test_without_a_list_actions_are_spread_evenly(env, world):
    table = thinned_table(world.layout)
    assert ListedActions(env).action_space.n == len(table) <= MAX_ACTIONS
    assert table.max(axis=0).tolist() == [len(axis.values) - 1 for axis in world.layout.axes]


def test_what_cannot_be_listed_is_refused(env, world):
    with pytest.raises(ActionError):
        ListedActions(env, np.array([[99, 0, 0, 0]]))
    continuous = EdgeSplitEnv(BatchedSimulator(world, 1), world.objective(), continuous=True)
    with pytest.raises(EnvError, match="continuous=False"):
        ListedActions(continuous)
