"""What all boards of a fleet have in common."""

from __future__ import annotations

from dataclasses import dataclass

from envs.clocks import clock_axes
from envs.objective import Objective
from envs.plant import Axis, Layout
from envs.scenario import Scenario
from envs.split_costs import SplitCosts
from hw.device import DeviceModel


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Everything that is the same for all boards of a fleet.

    Attributes:
        device: model of the board.
        model: name of the network.
        cut_list_fingerprint: hash of its split points.
        costs: of its split points on the device.
        scenarios: each episode picks one of them.
        n_steps: control steps in an episode.
        step_s: duration of a control step.
    """

    device: DeviceModel
    model: str
    cut_list_fingerprint: str
    costs: SplitCosts
    scenarios: tuple[Scenario, ...]
    n_steps: int = 240
    step_s: float = 0.25

    @property
    def layout(self) -> Layout:
        """Describe the fleet to a policy."""
        splits = Axis("split", tuple(float(s) for s in range(len(self.costs.wire_bytes))))
        return Layout(
            board=self.device.name,
            board_fingerprint=self.device.fingerprint,
            model=self.model,
            cut_list_fingerprint=self.cut_list_fingerprint,
            axes=(*clock_axes(self.device), splits),
            max_power_w=self.device.max_power_w,
        )

    def objective(self) -> Objective:
        """Build the cost with this device's and this network's reference values."""
        rows = self.costs.rows()[:, -1]
        fastest = (float(self.device.cpu_hz[-1]), float(self.device.gpu_hz[-1]))
        latency_s = self.device.latency_s(
            SplitCosts.from_rows(rows).head, *fastest, float(self.device.emc_hz[-1])
        )
        return Objective(max_power_w=self.device.max_power_w, reference_latency_s=float(latency_s))
