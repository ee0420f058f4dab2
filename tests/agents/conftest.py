"""Untrained agents on the small world, and their frozen form."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from agents.policy.frozen import FrozenPolicy
from agents.training.algorithms import ALGORITHMS
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig

N_BOARDS = 4
PERCEPTRONS = [name for name in ALGORITHMS if name != "advised"]


@pytest.fixture(scope="session", params=PERCEPTRONS)
def untrained(request, small_world):
    """Agent that has learned nothing, and the metadata of its policy."""
    recipe = ALGORITHMS[request.param]
    small = {"batch_size": 32}
    if "buffer_size" in recipe.settings:
        small["buffer_size"] = 100
    recipe = replace(recipe, n_envs=N_BOARDS, settings=recipe.settings | small)
    agent = recipe.build(recipe.boards(small_world), 0, None)
    with torch.no_grad():  # untrained outputs are so small that all actions would be alike
        for layer in agent.policy.modules():
            if isinstance(layer, nn.Linear):
                layer.weight *= 2.0
    return agent, recipe.describe(request.param, small_world.layout)


@pytest.fixture(scope="session")
def policy(untrained) -> FrozenPolicy:
    agent, metadata = untrained
    return ALGORITHMS[metadata.algorithm].freeze(agent, metadata)


SCENARIO = """
schema_version = 2
description = "{name}"
eta = 0.5
[link]
rate_mbps = {rate_mbps}
rtt_ms = 0.2
radio_w = 0.9
radio_w_per_mbps = 0.0
[server]
gflop_per_s = 5000.0
load = 0.0
[arrivals]
rate_hz = {rate_hz}
kind = "{kind}"
[ambient]
temperature_c = 25.0
[requests]
latency_target_ms = 100.0
[board]
slowdown = 1.0
decision_ms = 0.0
"""


@pytest.fixture(scope="session")
def build(tiny, small_device, tmp_path_factory):
    """Build a world whose only scenario is constant but for what is given."""

    def build_one(
        name: str, rate_mbps: str = "50.0", rate_hz: str = "10.0", kind: str = "periodic"
    ) -> SimConfig:
        path = tmp_path_factory.mktemp("scenarios") / f"{name}.toml"
        path.write_text(SCENARIO.format(name=name, rate_mbps=rate_mbps, rate_hz=rate_hz, kind=kind))
        return replace(build_sim_config(str(small_device), tiny, [str(path)]), n_steps=40)

    return build_one


@pytest.fixture(scope="session")
def calm(build) -> SimConfig:
    """Nothing ever changes."""
    return build("calm")


@pytest.fixture(scope="session")
def swinging(build) -> SimConfig:
    """The link is either fast or nearly dead, so that no fixed action is good."""
    rate_mbps = (
        "{ quantiles = [0.05, 0.051, 0.052, 300.0, 301.0, 302.0], correlation_time_s = 2.0 }"
    )
    return build("swinging", rate_mbps=rate_mbps)
