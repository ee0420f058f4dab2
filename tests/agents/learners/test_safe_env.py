from __future__ import annotations

import numpy as np
import pytest

from agents.learning.safe_env import SafeEnv
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator
from tests.runs import constant_policy

TRUSTED = (1, 1, 1, 2)


@pytest.fixture
def safe(small_world) -> SafeEnv:
    env = EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())
    wrapped = SafeEnv(env, constant_policy(small_world.layout, TRUSTED))
    wrapped.reset(seed=0)
    return wrapped


def heat(safe, margin_c: float) -> None:
    """Change the temperature that the last observation shows."""
    fields = safe.env.encoder.fields
    row = [f.name for f in fields].index("temperature_margin_c")
    low, high = fields[row].low, fields[row].high
    safe._observation = safe._observation.copy()
    safe._observation[row] = 2.0 * (margin_c - low) / (high - low) - 1.0


def test_no_axis_strays_further_than_one_step_from_the_trusted_policy(safe):
    sizes = safe.env.decoder.sizes
    far = safe.bounded(sizes - 1)
    np.testing.assert_array_equal(far, np.minimum(np.array(TRUSTED) + 1, sizes - 1))
    np.testing.assert_array_equal(safe.bounded(np.zeros(4, dtype=int)), np.array(TRUSTED) - 1)


def test_what_was_executed_is_told(safe):
    _, reward, _, _, info = safe.step(np.array([0, 2, 1, 4]))
    np.testing.assert_array_equal(info["executed"], [0, 2, 1, 3])
    requested = safe.env.plant.layout.axes[0].values[0]
    assert info["requested"]["cpu"] == requested
    assert reward == pytest.approx(-np.log(sum(info["reward_terms"].values())), rel=1e-6)


def test_the_trusted_policy_decides_alone_after_a_late_step(safe):
    safe._is_late = True
    np.testing.assert_array_equal(safe.bounded(np.array([0, 2, 0, 3])), TRUSTED)


def test_near_the_limit_no_clock_is_raised(safe):
    safe.step(np.array([0, 0, 0, 2]))  # clocks in force are now the lowest
    heat(safe, 20.0)
    assert safe.bounded(np.array([2, 2, 2, 2]))[:3].tolist() == [2, 2, 2]
    heat(safe, 1.0)
    assert safe.bounded(np.array([2, 2, 2, 2])).tolist() == [0, 0, 0, 2]
