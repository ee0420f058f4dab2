"""Model error: three smoothed ratios of what is measured to what a device model expects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.governed.table import GovernedFactors
from envs.sim.clocks import Clocks
from envs.sim.finishing import finish, top_clocks
from envs.sim.split_costs import SplitCosts
from hw.device.model import DeviceModel

SMOOTHING = 0.3
"""Weight of the latest control step."""
FORGETTING_S = 10.0
"""Time constant with which what is known of the cloud fades while nothing is sent."""
SMALLEST, LARGEST = 0.1, 10.0
"""Bounds of a single ratio, so that one odd step is forgotten soon."""


@dataclass(frozen=True, slots=True)
class Link:
    """Link and server as estimated, arrays of shape (n,)."""

    rate_bps: Floats
    rtt_s: Floats
    server_idle: Floats
    server_flops_per_s: Floats
    radio_w: Floats


@dataclass(frozen=True, slots=True)
class StepMeasurement:
    """One control step as the board's own meters show it, arrays of shape (n,).

    Attributes:
        served_hz: requests answered per second.
        fell_back: share of them that the board finished for the cloud.
        edge_s: computing time on the board per request.
        away_s: time per request that was waited for the cloud.
        power_w: mean power, radio included.
    """

    served_hz: Floats
    fell_back: Floats
    edge_s: Floats
    away_s: Floats
    power_w: Floats


class ModelErrorRatios:
    """Measured over expected for `n` boards; see `envs.plant.Readings` for their meaning.

    Attributes:
        latency: of the board's own computing.
        away: of the wait for the cloud.
        power: of the mean power.
    """

    def __init__(self, device: DeviceModel | None, n: int, step_s: float) -> None:
        """Begin at 1, as modelled.

        Args:
            device: the nominal model; without one, the factors stay at 1.
            n: boards.
            step_s: duration of a control step.
        """
        self._device = device
        self._fading = step_s / FORGETTING_S
        self.latency, self.away, self.power = np.ones(n), np.ones(n), np.ones(n)

    def update(
        self,
        costs: SplitCosts,
        clocks: Clocks,
        link: Link,
        seen: StepMeasurement,
        governed: GovernedFactors | None = None,
    ) -> None:
        """Take a control step in.

        Args:
            costs: of the split point in force, on the nominal device.
            clocks: as read back.
            link: as estimated afterwards.
            seen: what was measured.
            governed: what governors below the clocks come to; None where they are pinned.
        """
        if self._device is None:
            return
        as_pinned = GovernedFactors(*(np.ones(1) for _ in GovernedFactors._fields))
        moved = governed or as_pinned
        cpu_s, gpu_s = costs.head.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        cpu_s, gpu_s = cpu_s * moved.head, gpu_s * moved.head
        edge_s, more_j = costs.head.fixed_s + cpu_s + gpu_s, np.zeros(1)
        if seen.fell_back.any():
            one, is_pinned = np.ones(1), governed is None
            top = top_clocks(self._device, costs.wire_bytes) if is_pinned else clocks
            more = finish(self._device, costs.tail, clocks, top, moved.tail, 0.0 * one)
            edge_s = edge_s + seen.fell_back * more.total_s
            more_j = more.busy_j(self._device, clocks, one) * moved.work
            more_j = more_j + more.idle_j(self._device, clocks)
            memory_j_per_byte = self._device.power.memory_j_per_byte
            more_j = more_j + costs.tail_traffic_bytes * memory_j_per_byte
        self.latency = _follow(self.latency, seen.edge_s, edge_s)
        send_s = costs.wire_bytes * 8.0 / link.rate_bps
        power, hz = self._device.power, (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        board_w = power.total_w(
            *hz,
            cpu_util=moved.work * np.minimum(seen.served_hz * cpu_s, 1.0),
            gpu_util=moved.work * np.minimum(seen.served_hz * gpu_s, 1.0),
            traffic_bytes_per_s=seen.served_hz * costs.traffic_bytes,
        )
        if governed is not None:
            board_w = board_w - (1.0 - governed.rest) * power.idle_w(*hz)
        radio_w = seen.served_hz * np.minimum(send_s, seen.away_s) * link.radio_w
        more_w = seen.served_hz * seen.fell_back * more_j
        self.power = _follow(self.power, seen.power_w, board_w + more_w + radio_w)
        self._update_away(costs, link, send_s, seen)

    def _update_away(
        self, costs: SplitCosts, link: Link, send_s: Floats, seen: StepMeasurement
    ) -> None:
        cloud_s = costs.tail_flops / (link.server_flops_per_s * link.server_idle)
        sent = costs.wire_bytes > 0.0
        expected_s = np.where(sent, send_s + link.rtt_s + cloud_s, 0.0)
        followed = _follow(self.away, seen.away_s, expected_s)
        # A request that was given up only shows that the cloud would have taken longer than that.
        followed = np.where(seen.fell_back > 0.0, np.maximum(followed, self.away), followed)
        self.away = np.where(sent, followed, self.away + self._fading * (1.0 - self.away))


def _follow(factor: Floats, measured: Floats, expected: Floats) -> Floats:
    """Move a factor towards measured over expected; it stays where nothing was expected."""
    ratio = np.divide(measured, expected, out=factor.copy(), where=expected > 0.0)
    return factor + SMOOTHING * (np.clip(ratio, SMALLEST, LARGEST) - factor)
