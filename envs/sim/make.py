"""Construction of the simulated environment from names; the entry point of `gymnasium.make`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envs import arguments as checked
from envs.edge_env import EdgeSplitEnv
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import ALL_SCENARIOS, build_sim_config


@checked.only_known("EdgeSplitSim-v0")
def make_simulated(
    device: str = "tx2",
    model: str = "efficientnet-lite0",
    scenario: str | Sequence[str] = ALL_SCENARIOS,
    *,
    without: Sequence[str] = (),
    eta: float | None = None,
    weights: Mapping[str, float] | None = None,
    n_steps: int = 240,
    continuous: bool = False,
    render_mode: str | None = None,
) -> EdgeSplitEnv:
    """Make `EdgeSplitSim-v0`: one simulated board.

    Args:
        device: name of a device model, or a TOML file.
        model: name of a prepared model, or its folder; efficientnet-lite0 need not be prepared.
        scenario: name or TOML file, or several; each episode picks one.
        without: effects that are not simulated, see `envs.sim.effects`.
        eta: weight of energy against time in the cost, 0..1; the scenarios' own if not given.
        weights: of the cost's other terms by name, `envs.arguments.WEIGHTS`.
        n_steps: control steps in an episode, a quarter of a second each.
        continuous: `Box` instead of `MultiDiscrete` actions.
        render_mode: "ansi" or "rgb_array".

    Raises:
        EnvError: an argument that means nothing.
        HardwareError: the device.
        PartitionError: the model.
        ScenarioError: the scenario.
    """
    mode = checked.render_mode(render_mode)
    world = build_sim_config(
        device,
        model,
        checked.names_or_files("scenario", scenario),
        without=without,
        eta=eta,
        weights=weights,
        n_steps=n_steps,
    )
    return EdgeSplitEnv(
        BatchedSimulator(world, 1),
        world.objective(),
        continuous=continuous,
        render_mode=mode,
        route_names=world.route_names,
    )
