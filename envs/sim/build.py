"""Construction of simulators from device, network and scenarios by name, as commands give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from envs.arguments import cost_weights, count, name_or_file, names_or_files, share
from envs.errors import ScenarioError
from envs.governed.table_file import open_table
from envs.scenarios.randomisation import Randomisation
from envs.scenarios.scenario import Scenario, scenario_names
from envs.sim.effects import Effects
from envs.sim.sim_config import NominalSimConfig, SimConfig
from envs.sim.split_costs import SplitCosts
from hw.base import Hold
from hw.device.model import DeviceModel
from partition.model.folder import ModelFolder
from partition.model.network_costs import NetworkCosts

ALL_SCENARIOS = "all"


def load_scenarios(names: Sequence[str]) -> tuple[Scenario, ...]:
    """Load scenarios by name or path; "all" stands for every shipped one.

    Raises:
        ScenarioError: unknown or malformed.
    """
    expanded = [
        n for name in names for n in (scenario_names() if name == ALL_SCENARIOS else [name])
    ]
    return tuple(Scenario.load(name) for name in expanded)


def build_sim_config(
    device: str = "tx2",
    model: str | ModelFolder | NetworkCosts = "efficientnet-lite0",
    scenarios: Sequence[str] = (ALL_SCENARIOS,),
    *,
    without: Sequence[str] = (),
    nominal: str | None = None,
    randomisation: Randomisation | None = None,
    eta: float | None = None,
    weights: Mapping[str, float] | None = None,
    n_steps: int = 240,
    hold: Hold = Hold.PIN,
    governed: Path | None = None,
) -> SimConfig:
    """Build a simulated world.

    Args:
        device: name of a device model, or a TOML file; `@RUNTIME` may follow, the device's first
            run-time is taken without.
        model: name of a prepared model, its folder, or the opened folder; one that ships with
            its costs (`partition.model.network_costs`) need not be prepared.
        scenarios: names or TOML files.
        without: effects that are not simulated, see `envs.sim.effects`.
        nominal: device that the boards are believed to be, if that is not true.
        randomisation: of single boards.
        eta: weight of energy against time, 0..1; the scenarios' own if not given.
        weights: of the cost's terms by name, `envs.arguments.WEIGHTS`; the usual ones if not given.
        n_steps: control steps in an episode.
        hold: how the boards hold their clocks; CAP leaves them to the device's governors.
        governed: file that may hold what those come to; else it is looked up, or made in minutes.

    Raises:
        DeviceFileError: a device.
        EnvError: an effect, or an argument that means nothing.
        PartitionError: the model.
        ScenarioError: a scenario, or some that do not belong together.
    """
    match model:
        case NetworkCosts():
            network = model
        case ModelFolder():
            network = NetworkCosts.of(model)
        case _:
            network = NetworkCosts.open(name_or_file("model", model))
    drawn = load_scenarios(names_or_files("scenario", scenarios))
    _check_alike(drawn)
    placed = partial(_placed, network=network, picture_bytes=drawn[0].picture_bytes)
    true = placed(name_or_file("device", device))
    if eta is not None:
        drawn = tuple(replace(scenario, eta=share("eta", eta)) for scenario in drawn)
    return SimConfig(
        device=true.device,
        model=network.name,
        cut_list_fingerprint=network.cut_list_fingerprint,
        costs=true.costs,
        route_names=tuple(option.name for option in network.routes),
        scenarios=drawn,
        nominal=placed(nominal) if nominal else None,
        effects=Effects.without(names_or_files("without", without) if without else ()),
        randomisation=randomisation or Randomisation(),
        weights=cost_weights(weights),
        appeal_share=network.appeal_share,
        governed=open_table(true.device, true.costs.head, governed) if hold is Hold.CAP else None,
        n_steps=count("n_steps", n_steps),
    )


def _check_alike(scenarios: Sequence[Scenario]) -> None:
    """Refuse tasks that no reading tells apart.

    Raises:
        ScenarioError: there are some.
    """
    for differs, what in (
        ({s.is_back_to_back for s in scenarios}, "requests come back to back in some"),
        (
            {(s.server_j_per_request, s.server_j_per_flop) for s in scenarios},
            "servers take other energy in some",
        ),
        ({s.picture_bytes for s in scenarios}, "pictures are other files in some"),
    ):
        if len(differs) > 1:
            raise ScenarioError(f"{what} of these scenarios: take them apart")


def _placed(device: str, network: NetworkCosts, picture_bytes: int) -> NominalSimConfig:
    """A device while it runs a network, and what the network's routes cost there."""
    model = DeviceModel.load(device)
    whole = network.routes[-1].edge
    running = model.running(model.network.demand(whole.flops, whole.traffic_bytes, whole.kernels))
    costs = SplitCosts.of(model, network.routes).with_files(model, picture_bytes)
    return NominalSimConfig(running, costs)
