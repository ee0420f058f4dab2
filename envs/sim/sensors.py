"""Sensors of the simulated boards and of the cloud's client: what they show of the true state."""

from __future__ import annotations

import numpy as np

from envs.arrays import Floats
from envs.governed.table import GovernedFactors
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.clocks import Clocks
from envs.sim.expectation import Link, ModelErrorRatios, StepMeasurement
from envs.sim.link_errors import LinkErrors
from envs.sim.response import Response
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts

PROBE_PERIOD_S = 1.0
"""The rate of an idle link is probed in the first control step after it, so that its estimate never
gets much older."""
SERVER_SMOOTHING = 0.5
"""Weight, in logarithms, of the computing times of a step."""
SERVER_FORGETTING_S = 30.0
"""Time constant with which the server is taken to be as fast as usual again while nothing is sent:
who stays away from a slow server would not see it recover."""
TELLING_SHARE = 0.1
"""Of the network's work; the time of less is rather that of copying and waking up."""
TEMPERATURE_STEP_C = 0.5
"""Resolution of a thermal zone."""


class Sensors:
    """State of the readings of `n` boards.

    Attributes:
        link_bps: latest estimate of the link rate.
        link_age_s: its age.
        rtt_s: latest round trip.
        server_load: latest load that the server reported.
        server_flops_per_s: speed of the idle server as its latest replies showed it.
        latency_s: mean latency of the last step.
        power_w: power reading.
        busy: share of the last step during which the boards computed.
        decision_s: time of the last decision.
        cpu_util: busy share of the CPU during the last step.
        gpu_util: the same of the GPU.
        factors: measured over expected.
    """

    def __init__(self, world: SimConfig, n: int, now: OperatingConditions) -> None:
        """Begin an episode under these operating conditions."""
        zeros = np.zeros(n)
        self._exact = not world.effects.stale_readings
        self._step_s = world.step_s
        self._whole_flops = float(world.costs.tail_flops[0])
        self._device = world.believed.device
        self.factors = ModelErrorRatios(self._device, n, world.step_s)
        self._link_errors = LinkErrors()
        self.link_bps = now.link_bps * self._link_error(now, zeros)
        self.link_age_s = zeros
        self.rtt_s, self.server_load = now.rtt_s, now.server_load
        self.server_flops_per_s = now.usual_server_flops_per_s
        self.latency_s, self.power_w, self.busy, self.decision_s = zeros, zeros, zeros, zeros
        self.cpu_util, self.gpu_util = zeros, zeros

    def see(
        self,
        now: OperatingConditions,
        costs: SplitCosts,
        sent: Floats,
        clocks: Clocks,
        response: Response,
        governed: GovernedFactors | None = None,
    ) -> None:
        """Take a control step in.

        Round trip and server load come with every step, by an empty request if need be; the rate
        only when something was sent, or probed now and then.

        Args:
            now: operating conditions during the step.
            costs: of the split point in force, on the nominal device.
            sent: share of the requests that were to leave the board, if any.
            clocks: as read back.
            response: what happened.
            governed: what governors below the clocks came to, if there are any.
        """
        # A probe is sent at the beginning of a step, requests until its end.
        is_probed = self.link_age_s >= PROBE_PERIOD_S
        age_s = np.where(is_probed, 0.0, self.link_age_s) + self._step_s
        seen = now.link_blind == 0.0
        heard = (response.sent | is_probed) & seen
        self.link_age_s = np.where(
            seen, np.where(response.sent, 0.0, age_s), self.link_age_s + self._step_s
        )
        error = self._link_error(now, costs.wire_bytes * response.sent)
        self.link_bps = np.where(heard, now.link_bps * error, self.link_bps)
        self.rtt_s, self.server_load = now.rtt_s, now.server_load
        self._see_server(now, costs, response)
        self.latency_s = response.latency_s
        self.power_w = self._power_reading(now, response.power_w)
        self.cpu_util, self.gpu_util = response.cpu_util, response.gpu_util
        self.busy = np.minimum(response.served_hz * response.edge_s, 1.0)
        self.decision_s = now.decision_s
        seen = StepMeasurement(
            response.served_hz, response.fell_back, response.edge_s, response.away_s, self.power_w
        )
        self.factors.update(costs, clocks, self._link(now, sent), seen, governed)

    def temperature_c(self, now: OperatingConditions, true_c: Floats) -> Floats:
        """Temperature as a thermal zone shows it."""
        if self._exact:
            return true_c
        shown_c = (true_c + now.temperature_bias_c) / TEMPERATURE_STEP_C
        rounded: Floats = np.round(shown_c) * TEMPERATURE_STEP_C
        return rounded

    def _link_error(self, now: OperatingConditions, n_bytes: Floats) -> Floats:
        factor = self._link_errors.factor(n_bytes, now.link_bps, now.rtt_s, now.estimate_draw)
        return factor if now.build is None else factor * now.build.estimate

    def _see_server(self, now: OperatingConditions, costs: SplitCosts, response: Response) -> None:
        """Take the computing times of replies in; what they showed fades while there are none."""
        told = response.sent & (response.fell_back < 1.0)
        told &= costs.tail_flops >= TELLING_SHARE * self._whole_flops
        shown = now.server_flops_per_s * (1.0 - now.hidden_load)
        share = np.where(told, SERVER_SMOOTHING, self._step_s / SERVER_FORGETTING_S)
        target = np.where(told, shown, now.usual_server_flops_per_s)
        self.server_flops_per_s = (
            self.server_flops_per_s * (target / self.server_flops_per_s) ** share
        )

    def _power_reading(self, now: OperatingConditions, true_w: Floats) -> Floats:
        if self._exact:
            return true_w
        return np.where(now.power_stuck > 0.0, self.power_w, self._device.quantise_w(true_w))

    def _link(self, now: OperatingConditions, sent: Floats) -> Link:
        rate_bps = now.link_bps if self._exact else self.link_bps
        return Link(
            rate_bps=rate_bps,
            rtt_s=self.rtt_s * sent,
            server_idle=1.0 - self.server_load,
            server_flops_per_s=now.server_flops_per_s if self._exact else self.server_flops_per_s,
            radio_w=now.radio_w + now.radio_w_per_bps * rate_bps,
        )
