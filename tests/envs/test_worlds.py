from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

import envs  # noqa: F401  # registers the environments
from envs.edge_env import EdgeSplitEnv
from envs.errors import EnvError
from envs.scenarios.randomisation import Randomisation
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from hw.device.file import device_names


def test_effects_are_left_out_by_name(tiny):
    env = gymnasium.make("EdgeSplitSim-v0", model=str(tiny.path), without=["thermal", "queueing"])
    effects = env.unwrapped.plant.world.effects
    assert not effects.thermal
    assert not effects.queueing
    assert effects.hidden_load
    with pytest.raises(EnvError, match="'magic'"):
        build_sim_config("tx2", tiny, without=["magic"])


@pytest.mark.parametrize("device", device_names())
def test_every_device_runs_an_episode(tiny, device):
    world = replace(build_sim_config(device, tiny), n_steps=4)
    env = EdgeSplitEnv(BatchedSimulator(world, 1), world.objective())
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for _ in range(4):
        assert env.observation_space.contains(observation)
        observation, reward, _, truncated, info = env.step(env.action_space.sample())
        assert -1e5 < reward < 0.0  # a link takes a thousand times as long as the fastest board
        assert list(info["applied"]) == list(world.layout.domains)
    assert truncated


def test_a_board_that_is_taken_for_another_shows_in_its_factors(tiny):
    world = build_sim_config("orin-nano", tiny, ["steady-wifi"], nominal="nano")
    boards = BatchedSimulator(world, 1)
    boards.reset(np.zeros(1, dtype=np.uint64))
    top = [[len(axis.values) - 1 for axis in world.layout.axes]]
    for _ in range(12):
        boards.step(np.array(top))
    assert boards.readings().latency_factor[0] < 0.6
    assert world.layout.board == "orin-nano"
    assert world.as_believed().device.title == "NVIDIA Jetson Nano (T210)"


def test_a_server_of_another_speed_is_only_seen_by_its_replies(tiny):
    """Who stays on the board takes it for the usual one, as who has just begun does."""
    usual = build_sim_config("tx2", tiny, ["steady-wifi"])
    slow = replace(usual, randomisation=Randomisation(server_factor=0.2))
    assert slow.randomisation.is_on
    seeds = np.zeros(1, dtype=np.uint64)
    sizes = [len(axis.values) for axis in usual.layout.axes]
    shown = {}
    for route in (0, sizes[-1] - 1):
        fleets = [BatchedSimulator(world, 1) for world in (usual, slow)]
        first = [fleet.reset(seeds).server_flops_per_s[0] for fleet in fleets]
        assert first[0] == first[1]
        for fleet in fleets:
            for _ in range(20):
                fleet.step(np.array([[*(size - 1 for size in sizes[:-1]), route]]))
        shown[route] = [fleet.readings().server_flops_per_s[0] for fleet in fleets]
    assert shown[0][1] == pytest.approx(0.2 * shown[0][0], rel=0.01)
    assert shown[sizes[-1] - 1][0] == shown[sizes[-1] - 1][1]


def test_an_estimate_that_is_off_stays_off_and_bends_what_the_cloud_is_expected_to_take(tiny):
    usual = build_sim_config("tx2", tiny, ["steady-wifi"])
    fleets = [
        BatchedSimulator(replace(usual, randomisation=Randomisation(estimate_sd=sd)), 200)
        for sd in (0.0, 0.1)
    ]
    top = [len(axis.values) - 1 for axis in usual.layout.axes]
    for fleet in fleets:
        fleet.reset(np.arange(200, dtype=np.uint64))
        for _ in range(20):
            fleet.step(np.tile([*top[:-1], 0], (200, 1)))
    exact, off = (fleet.readings() for fleet in fleets)
    factor = np.log(off.link_bps / exact.link_bps)
    assert factor.std() == pytest.approx(0.1, rel=0.15)
    assert abs(factor.mean()) < 0.03
    # Whoever takes the link for faster finds the cloud slower than it should be.
    longer = np.log(off.away_factor / exact.away_factor)
    assert np.corrcoef(factor, longer)[0, 1] > 0.9
    for fleet in fleets:
        fleet.step(np.tile([*top[:-1], 0], (200, 1)))
    exact, off = (fleet.readings() for fleet in fleets)
    assert np.log(off.link_bps / exact.link_bps) == pytest.approx(factor)


def test_randomisation_is_off_unless_asked_for(tiny):
    assert not build_sim_config("tx2", tiny).randomisation.is_on
    settings = Randomisation(latency_sd=0.1)
    assert build_sim_config("tx2", tiny, randomisation=settings).randomisation == settings
