"""Time and energy of each route as split computing predicts them, at maximum clocks."""

from __future__ import annotations

import numpy as np

from agents.deciders.nominal import NominalModel
from envs.arrays import Floats
from envs.plant import Readings
from envs.sim.clocks import clock_tables


class CutTimes:
    """Profile of every route on the nominal device, for an idle server and any link.

    Taken at maximum clocks, which governors reach during the back-to-back runs of a profile.

    Attributes:
        head_s: on the board, shape (n_routes,).
        head_j: energy of the board for it, shape (n_routes,).
        wire_bytes: sent per request, shape (n_routes,).
    """

    def __init__(self, known: NominalModel) -> None:
        """Profile every route."""
        hz = [float(table[-1]) for table in clock_tables(known.device)]
        costs = known.costs
        cpu_s, gpu_s = costs.head.busy_s(*hz)
        self.head_s: Floats = costs.head.fixed_s + cpu_s + gpu_s
        span_s = np.maximum(self.head_s, 1e-9)
        self.head_j: Floats = span_s * known.device.power.total_w(
            *hz,
            cpu_util=cpu_s / span_s,
            gpu_util=gpu_s / span_s,
            traffic_bytes_per_s=costs.traffic_bytes / span_s,
        )
        self.wire_bytes = costs.wire_bytes
        self._tail_flops = costs.tail_flops

    def send_s(self, readings: Readings) -> Floats:
        """Time on the wire, shape (n, n_routes)."""
        seconds: Floats = 8.0 * self.wire_bytes / readings.link_bps[:, None]
        return seconds

    def total_s(self, readings: Readings) -> Floats:
        """Head, transfer and tail under the present link and server load, shape (n, n_routes)."""
        server_flops_per_s = readings.server_flops_per_s * readings.server_idle
        cloud_s = readings.rtt_s[:, None] + self._tail_flops / server_flops_per_s[:, None]
        away_s = self.send_s(readings) + cloud_s
        return self.head_s + np.where(self.wire_bytes > 0.0, away_s, 0.0)
