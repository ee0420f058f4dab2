"""Construction of the simulated environment from names; the entry point of `gymnasium.make`."""

from __future__ import annotations

from collections.abc import Sequence

from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import ALL_SCENARIOS, build_sim_config


def make_simulated(
    device: str = "tx2",
    model: str = "efficientnet-lite0",
    scenario: str | Sequence[str] = ALL_SCENARIOS,
    *,
    without: Sequence[str] = (),
    continuous: bool = False,
) -> EdgeSplitEnv:
    """Make `EdgeSplitSim-v0`: one simulated board.

    Args:
        device: name of a device model, or a TOML file.
        model: name of a prepared model, or its folder; efficientnet-lite0 need not be prepared.
        scenario: name or TOML file, or several; each episode picks one.
        without: effects that are not simulated, see `envs.sim.effects`.
        continuous: `Box` instead of `MultiDiscrete` actions.
    """
    names = [scenario] if isinstance(scenario, str) else scenario
    world = build_sim_config(device, model, names, without=without)
    return EdgeSplitEnv(BatchedSimulator(world, 1), world.objective(), continuous=continuous)
