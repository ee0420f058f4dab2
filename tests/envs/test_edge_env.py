"""The Gymnasium environment: checkers, documentation and what a step tells."""

from __future__ import annotations

import inspect
import re
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import envs  # noqa: F401  # registers the environments
from envs.edge_env import EdgeSplitEnv
from envs.errors import ActionError, EnvError
from envs.objective import TERMS
from envs.sim.batched_simulator import BatchedSimulator
from envs.spaces import observation_fields


@pytest.fixture
def env(world):
    return EdgeSplitEnv(BatchedSimulator(world, 1), world.objective())


@pytest.mark.parametrize("continuous", [False, True])
def test_both_checkers_accept_the_simulated_environment(tiny, continuous):
    env = gymnasium.make(
        "EdgeSplitSim-v0",
        device="tx2",
        model=str(tiny.path),
        scenario="steady-wifi",
        continuous=continuous,
    )
    kind = gymnasium.spaces.Box if continuous else gymnasium.spaces.MultiDiscrete
    assert isinstance(env.action_space, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        check_env_sb3(env.unwrapped)


def test_several_scenarios_can_be_asked_for(tiny):
    names = ["steady-wifi", "lte-driving"]
    env = gymnasium.make("EdgeSplitSim-v0", model=str(tiny.path), scenario=names)
    assert [s.name for s in env.unwrapped.plant.world.scenarios] == names


def test_the_documented_observation_is_the_one_given(world):
    rows = re.findall(r"^\s*\|(.*)\|$", inspect.getdoc(EdgeSplitEnv), flags=re.MULTILINE)[2:]
    table = [[cell.strip() for cell in row.split("|")] for row in rows]
    fields = observation_fields(world.layout)
    n_named = len(table) - 1
    assert [int(row[0]) for row in table[:-1]] == list(range(n_named))
    assert table[-1][0] == f"{n_named}+"
    for (_, name, unit, low, high, log), f in zip(table[:-1], fields, strict=False):
        assert (name, unit, log == "log") == (f.name, f.unit, f.log)
        assert float(low) == f.low
        assert (world.layout.max_power_w if high == "max_power" else float(high)) == f.high
    clocks = fields[n_named:]
    assert [f.name for f in clocks] == [f"{domain}_hz" for domain in world.layout.domains]
    assert {(f.unit, f.low, f.log) for f in clocks} == {("Hz", 0.0, False)}
    assert [f.high for f in clocks] == [axis.values[-1] for axis in world.layout.axes[:-1]]
    assert table[-1][1:4] == ["<domain>_hz", "Hz", "0"]


def test_the_spaces_have_one_entry_per_field_and_axis(env, world):
    assert env.observation_space.shape == (len(observation_fields(world.layout)),)
    assert env.action_space.nvec.tolist() == [len(axis.values) for axis in world.layout.axes]


def test_an_episode_is_truncated_and_never_terminated(env, world):
    env.reset(seed=0)
    ends = [env.step(env.action_space.sample())[2:4] for _ in range(world.n_steps)]
    assert ends == [(False, False)] * (world.n_steps - 1) + [(False, True)]


def test_a_step_tells_its_terms_its_outcome_and_both_clocks(env, world):
    env.reset(seed=0)
    _, reward, _, _, info = env.step(np.array([1, 2, 3, 0]))
    assert tuple(info["reward_terms"]) == TERMS
    assert reward == pytest.approx(-sum(info["reward_terms"].values()))
    assert info["requested"] == {
        axis.name: axis.values[k] for axis, k in zip(world.layout.axes[:-1], (1, 2, 3), strict=True)
    }
    assert info["applied"] == info["requested"]
    assert info["route"] == 0
    assert info["outcome"]["latency_s"] > 0.0
    assert info["late_s"] == 0.0
    # The first tenth of a millisecond, until the decision was there, sent nothing.
    sent = 1.0 - 1e-4 / world.step_s
    assert info["outcome"]["uplink_bytes"] == pytest.approx(sent * world.costs.wire_bytes[0])


def test_equal_seeds_give_equal_episodes_and_a_reset_without_seed_a_new_one(env):
    first, again = env.reset(seed=3)[0], env.reset(seed=3)[0]
    np.testing.assert_array_equal(first, again)
    assert (env.reset()[0] != first).any()


def test_options_that_a_reset_does_not_have_are_refused(env):
    env.reset(seed=0, options={})
    with pytest.raises(EnvError, match="reset has no options, it was given rate"):
        env.reset(options={"rate": 3})


@pytest.mark.parametrize("action", [[0, 0, 0], [0, 0, 0, 99], [0.0, 0.0, 0.0, np.nan], 3])
def test_an_action_outside_the_space_is_refused(env, action):
    env.reset(seed=0)
    with pytest.raises(ActionError):
        env.step(np.array(action))


def test_a_continuous_action_that_is_no_number_is_refused(world):
    env = EdgeSplitEnv(BatchedSimulator(world, 1), world.objective(), continuous=True)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="not finite"):
        env.step(np.full(4, np.nan, dtype=np.float32))
