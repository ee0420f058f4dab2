"""Configuration that all boards of a simulator have in common."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from envs.arrays import Floats
from envs.governed.table import GovernedTable
from envs.objective import Objective
from envs.plant import Axis, Layout
from envs.scenarios.randomisation import Randomisation
from envs.scenarios.scenario import Scenario
from envs.sim.clocks import clock_axes
from envs.sim.effects import Effects
from envs.sim.measured import MeasuredGrid
from envs.sim.split_costs import SplitCosts
from hw.base import Hold
from hw.device.model import DeviceModel


@dataclass(frozen=True, slots=True)
class NominalSimConfig:
    """The model that a board is taken to follow.

    Attributes:
        device: nominal model of the board.
        costs: of the routes on it.
    """

    device: DeviceModel
    costs: SplitCosts


@dataclass(frozen=True, kw_only=True, slots=True)
class SimConfig:
    """Everything that is the same for all boards of a simulator.

    Attributes:
        device: true model of the boards.
        model: name of the network.
        cut_list_fingerprint: hash of its routes.
        costs: of its routes on the true device.
        route_names: of its routes, for people.
        scenarios: each episode picks one of them.
        nominal: what is believed about the device where that is wrong; the readings' factors, the
            cost's references and the observation's bounds rest on it.
        effects: that are simulated.
        randomisation: of single boards.
        weights: of the cost's terms, keywords of `envs.objective.Objective`; its own if not given.
        appeal_share: share of the inputs whose answer by the network's own early exit is not
            trusted, where that was measured.
        governed: what governors that move the clocks below their caps come to; None where clocks
            are pinned.
        measured: the boards at each operating point, where their model is only near them; nobody
            who decides knows it.
        blocking: boards serve nothing while a decision is made, rather than going on as before.
        n_steps: control steps in an episode.
        step_s: duration of a control step.
    """

    device: DeviceModel
    model: str
    cut_list_fingerprint: str
    costs: SplitCosts
    route_names: tuple[str, ...]
    scenarios: tuple[Scenario, ...]
    nominal: NominalSimConfig | None = None
    effects: Effects = field(default_factory=Effects)
    randomisation: Randomisation = field(default_factory=Randomisation)
    weights: dict[str, float] = field(default_factory=dict)
    appeal_share: float | None = None
    governed: GovernedTable | None = None
    measured: MeasuredGrid | None = None
    blocking: bool = False
    n_steps: int = 240
    step_s: float = 0.25

    @property
    def is_back_to_back(self) -> bool:
        """Whether requests come as answers do, in all scenarios."""
        return all(scenario.is_back_to_back for scenario in self.scenarios)

    @property
    def server_j(self) -> Floats:
        """Energy of the server for an answer of each route, shape (n_routes,), if it counts."""
        scenario = self.scenarios[0]  # the same in all
        return scenario.server_j_per_request + scenario.server_j_per_flop * self.costs.tail_flops

    @property
    def hold(self) -> Hold:
        """How the boards hold their clocks."""
        return Hold.PIN if self.governed is None else Hold.CAP

    @property
    def believed(self) -> NominalSimConfig:
        """Model of the device that a decider may rest on."""
        return self.nominal or NominalSimConfig(self.device, self.costs)

    def as_believed(self) -> SimConfig:
        """The world in which the nominal model is true and all boards are alike."""
        believed = self.believed
        # Clock tables are read from the board, so no policy can be wrong about them.
        device = replace(believed.device, name=self.device.name, domains=self.device.domains)
        return replace(
            self,
            device=device,
            costs=believed.costs,
            nominal=None,
            measured=None,
            randomisation=Randomisation(),
        )

    @property
    def layout(self) -> Layout:
        """Describe the boards to a policy."""
        routes = Axis("route", tuple(float(s) for s in range(len(self.costs.wire_bytes))))
        return Layout(
            board=self.device.name,
            board_fingerprint=self.device.fingerprint,
            model=self.model,
            cut_list_fingerprint=self.cut_list_fingerprint,
            axes=(*clock_axes(self.device), routes),
            max_power_w=self._reference.max_power_w,
        )

    def objective(self) -> Objective:
        """Build the cost with the believed device's and the network's reference values."""
        device, costs = self._reference, self.believed.costs
        edge_only = SplitCosts.from_rows(costs.rows()[:, -1]).head
        fastest = (float(device.cpu_hz[-1]), float(device.gpu_hz[-1]), float(device.emc_hz[-1]))
        latency_s = float(device.latency_s(edge_only, *fastest))
        references = {"max_power_w": device.max_power_w, "reference_latency_s": latency_s}
        return Objective(**references, **self.weights)

    @property
    def _reference(self) -> DeviceModel:
        """The believed model with the board's own clock tables."""
        return replace(self.believed.device, domains=self.device.domains)
