from __future__ import annotations

import numpy as np
import pytest

from agents.learning.action_codes import code_of
from agents.learning.safe_env import Recovery, SafeEnv
from envs.edge_env import EdgeSplitEnv
from envs.listed_actions import thinned_table
from envs.plant import Axis, Layout
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import ActionDecoder
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
    safe.recovery.see(0.5)
    np.testing.assert_array_equal(safe.bounded(np.array([0, 2, 0, 3])), TRUSTED)


def test_near_the_limit_no_clock_is_raised(safe):
    safe.step(np.array([0, 0, 0, 2]))  # clocks in force are now the lowest
    heat(safe, 20.0)
    assert safe.bounded(np.array([2, 2, 2, 2]))[:3].tolist() == [2, 2, 2]
    heat(safe, 1.0)
    assert safe.bounded(np.array([2, 2, 2, 2])).tolist() == [0, 0, 0, 2]


def test_a_board_that_is_always_late_is_explored_now_and_then():
    recovery = Recovery()
    alone = []
    for _ in range(6):
        recovery.see(0.0)
        alone.append(recovery.is_on)
    assert alone == [True, True, False, True, True, False]
    recovery.see(1.0)
    assert not recovery.is_on


@pytest.mark.parametrize("head", ["box", "table"])
def test_what_was_executed_is_told_as_the_agent_states_actions(small_world, head):
    env = EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())
    table = thinned_table(small_world.layout) if head == "table" else None
    code = code_of(head, env.decoder, table)
    safe = SafeEnv(env, constant_policy(small_world.layout, TRUSTED), reach=None, code=code)
    safe.reset(seed=0)
    asked = code.action(np.array([0, 2, 1, 4])) + (0.01 if head == "box" else 0)
    *_, info = safe.step(asked)
    np.testing.assert_array_equal(info["executed"], asked)  # as it was, not as its bin's middle
    heat(safe, 1.0)
    safe.env.step(np.array([0, 0, 0, 2]))
    safe._observation = safe.env.encoder.encode(safe.env.plant.readings())[0]
    heat(safe, 1.0)
    *_, info = safe.step(code.action(np.array([2, 2, 2, 2])))
    assert code.indices(info["executed"]).tolist() == [0, 0, 0, 2]


def test_whoever_may_stray_as_far_as_it_goes_does(small_world):
    env = EdgeSplitEnv(BatchedSimulator(small_world, 1), small_world.objective())
    safe = SafeEnv(env, constant_policy(small_world.layout, TRUSTED), reach=None)
    safe.reset(seed=0)
    assert safe.bounded(np.array([0, 0, 2, 4])).tolist() == [0, 0, 2, 4]


def test_codes_of_actions_are_undone():
    sizes = np.array([3, 4, 2])
    layout = Layout("b", "", "m", "", tuple(Axis(str(n), tuple(range(n))) for n in sizes), 1.0)
    decoder = ActionDecoder(layout.axes)
    table = thinned_table(layout)
    every = np.stack([g.ravel() for g in np.meshgrid(*map(np.arange, sizes), indexing="ij")], 1)
    for head, listed in (("categorical", None), ("box", None), ("table", table)):
        code = code_of(head, decoder, listed)
        for row in every:
            action = code.action(row)
            assert code.space.contains(action if head != "table" else np.int64(action))
            np.testing.assert_array_equal(code.indices(action), row)
