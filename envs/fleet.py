"""Many simulated boards stepped at once: the physics behind both simulated environments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from envs.clocks import DOMAINS, Clocks, clock_tables
from envs.expectation import Factors, Link, Measured
from envs.plant import Indices, Outcome, Readings
from envs.response import Response, respond
from envs.scenario import Episodes, Surroundings
from envs.signals import Floats
from envs.split_costs import SplitCosts
from envs.world import World

__all__ = ["EXPECTED_SLOWDOWN", "PROBE_PERIOD_S", "Fleet", "World"]

PROBE_PERIOD_S = 1.0
"""The rate of an idle link is probed this often, so that its estimate never gets much older."""
EXPECTED_SLOWDOWN = 1.03
"""Background work that whoever plans ahead counts with; 1.0 would cut every deadline too fine."""
GRID = len(DOMAINS) + 1
"""Axes of a grid over all actions, those with a single clock included."""


class Fleet:
    """`n` boards with the same device, network and list of scenarios; a `Plant` for any n.

    Attributes:
        cpu_util: busy share of each board's CPU during the last step.
        gpu_util: the same of its GPU.
    """

    cpu_util: Floats
    gpu_util: Floats

    def __init__(self, world: World, n: int) -> None:
        """Create `n` boards; call `reset` before `step`."""
        self.world = world
        self.layout = world.layout
        self.n = n
        self.n_steps = world.n_steps
        device = world.device
        self._tables = clock_tables(device)
        self._settable = [k for k, table in enumerate(self._tables) if len(table) > 1]
        self._rows = world.costs.rows()
        # Share of a step during which the clocks of the step before are still in force.
        self._lag = tuple(device.domains[name].actuation_delay_s / world.step_s for name in DOMAINS)

    def reset(self, seeds: NDArray[np.uint64]) -> Readings:
        """Begin an episode on every board, all clocks at maximum, everything on the edge."""
        world, zeros = self.world, np.zeros(self.n)
        self._episodes = Episodes(world.scenarios, seeds, world.n_steps, world.step_s)
        self._t = 0
        self._action = np.tile([len(axis.values) - 1 for axis in self.layout.axes], (self.n, 1))
        self._clocks_hz = [np.full(self.n, table[-1]) for table in self._tables]
        self._backlog = zeros
        self._fast_c = zeros
        self._slow_c = zeros + world.device.thermal.slow_c_per_w * self._idle_power_w()
        self.cpu_util, self.gpu_util, self._busy = zeros, zeros, zeros
        self._latency_s, self._power_w = zeros, zeros
        self._factors = Factors(world.device, self.n, world.step_s)
        now = self._episodes.row(0)
        self._link_bps, self._link_age_s = now.link_bps * now.estimate_noise, zeros
        self._rtt_s, self._server_load = now.rtt_s, now.server_load
        return self.readings()

    def step(self, actions: Indices) -> Outcome:
        """Apply clocks and split, serve one control step, and let time pass."""
        world, device = self.world, self.world.device
        now = self._episodes.row(self._t + 1)
        clocks_hz = self._allowed_hz(self._asked_hz(actions), now)
        costs = SplitCosts.from_rows(self._rows[:, actions[:, -1]])
        clocks = self._effective(clocks_hz, self._clocks_hz)
        response = respond(device, costs, clocks, now, self._backlog, world.step_s)
        switched = (actions != self._action).mean(axis=1)
        self._fast_c, self._slow_c = device.thermal_step(
            self._fast_c, self._slow_c, response.power_w, world.step_s
        )
        self._clocks_hz = clocks_hz
        self._action = actions
        self._t += 1
        self._see(now, costs, response)
        return self._outcome(costs, response, switched, self._overheat_c(now))

    def readings(self) -> Readings:
        """Readings as the boards' sensors show them; the application knows its next requests."""
        now = self._episodes.row(min(self._t + 1, self.n_steps))
        return Readings(
            link_bps=self._link_bps,
            link_age_s=self._link_age_s,
            rtt_s=self._rtt_s,
            server_idle=1.0 - self._server_load,
            arrival_hz=now.arrival_hz,
            arrival_scv=now.arrival_scv,
            backlog=self._backlog,
            latency_target_s=now.latency_target_s,
            eta=now.eta,
            radio_w=now.radio_w + now.radio_w_per_bps * self._link_bps,
            temperature_margin_c=self.world.device.throttle_c - self._temperature_c(now),
            latency_s=self._latency_s,
            power_w=self._power_w,
            clocks_hz=np.stack([self._clocks_hz[k] for k in self._settable], axis=1),
            edge_share=self.world.costs.edge_share[self._action[:, -1]],
            decision_s=np.zeros(self.n),
            latency_factor=self._factors.latency,
            away_factor=self._factors.away,
            power_factor=self._factors.power,
            busy=self._busy,
            battery_level=np.ones(self.n),
        )

    def every_outcome(self, boards: slice) -> Outcome:
        """Outcome of every action in the true state, for some boards: what an oracle may see.

        Link, server load and requests of the coming step are known exactly; of the board's own
        background work, only what is usual.

        Returns:
            Arrays broadcastable to (n_boards, *sizes of the layout's axes); neither the state nor
            the temperature changes.
        """
        world = self.world
        now = self._episodes.row(self._t + 1).for_grid(boards)
        now = replace(now, slowdown=np.full(1, EXPECTED_SLOWDOWN))
        costs = SplitCosts.from_rows(self._rows.reshape(len(self._rows), 1, 1, 1, 1, -1))
        grid = [
            table.reshape([-1 if axis == k + 1 else 1 for axis in range(1 + GRID)])
            for k, table in enumerate(self._tables)
        ]
        before = [hz[boards].reshape(-1, 1, 1, 1, 1) for hz in self._clocks_hz]
        backlog = self._backlog[boards].reshape(-1, 1, 1, 1, 1)
        clocks = self._effective(grid, before)
        response = respond(world.device, costs, clocks, now, backlog, world.step_s)
        outcome = self._outcome(costs, response, np.zeros(1), np.zeros(1))
        return replace(self._squeezed(outcome), switched=self._switched_grid(boards))

    def eta(self) -> Floats:
        """Weight of energy of each board's episode."""
        return self._episodes.row(self._t).eta

    def close(self) -> None:
        """Nothing is held."""

    def _asked_hz(self, actions: Indices) -> list[Floats]:
        """Clocks that the actions ask for, in the order of `DOMAINS`."""
        asked = [np.full(len(actions), table[-1]) for table in self._tables]
        for column, k in enumerate(self._settable):
            asked[k] = self._tables[k][actions[:, column]]
        return asked

    def _allowed_hz(self, clocks_hz: list[Floats], now: Surroundings) -> list[Floats]:
        """Lower clocks to what a hot board is still given, on its table."""
        temperature_c = self._temperature_c(now)
        if (temperature_c <= self.world.device.throttle_c).all():
            return clocks_hz
        allowed = []
        for name, table, hz in zip(DOMAINS, self._tables, clocks_hz, strict=True):
            cap = self.world.device.throttled_hz_cap(name, temperature_c)
            top = np.maximum(np.searchsorted(table, cap, side="right") - 1, 0)
            allowed.append(np.minimum(hz, table[top]))
        return allowed

    def _effective(self, clocks_hz: list[Floats], before_hz: list[Floats]) -> Clocks:
        """Average the clocks over a step whose first milliseconds still run at the old ones."""
        return Clocks(
            *(
                hz + lag * (before - hz)
                for hz, before, lag in zip(clocks_hz, before_hz, self._lag, strict=True)
            )
        )

    def _see(self, now: Surroundings, costs: SplitCosts, response: Response) -> None:
        """Update the readings as `partition.client` would.

        Round trip and server load come with every step, by an empty request if need be; the rate
        only when something was sent, or probed now and then.
        """
        age_s = self._link_age_s + self.world.step_s
        fresh = (costs.wire_bytes > 0.0) | (age_s >= PROBE_PERIOD_S)
        self._link_age_s = np.where(fresh, 0.0, age_s)
        self._link_bps = np.where(fresh, now.link_bps * now.estimate_noise, self._link_bps)
        self._rtt_s, self._server_load = now.rtt_s, now.server_load
        self._latency_s, self._backlog = response.latency_s, response.backlog
        self._power_w = self.world.device.quantise_w(response.power_w)
        self.cpu_util, self.gpu_util = response.cpu_util, response.gpu_util
        served_hz = response.requests / self.world.step_s
        self._busy = np.minimum(served_hz * response.edge_s, 1.0)
        seen = Measured(
            served_hz, response.fell_back, response.edge_s, response.away_s, self._power_w
        )
        self._factors.update(costs, Clocks(*self._clocks_hz), self._link(now), seen)

    def _link(self, now: Surroundings) -> Link:
        return Link(
            rate_bps=self._link_bps,
            rtt_s=self._rtt_s,
            server_idle=1.0 - self._server_load,
            server_flops_per_s=now.server_flops_per_s,
            radio_w=now.radio_w + now.radio_w_per_bps * self._link_bps,
        )

    def _outcome(
        self, costs: SplitCosts, response: Response, switched: Floats, overheat_c: Floats
    ) -> Outcome:
        return Outcome(
            energy_j=response.energy_j,
            latency_s=response.latency_s,
            in_time=response.in_time,
            accuracy=costs.accuracy
            + response.fell_back * (costs.fallback_accuracy - costs.accuracy),
            switched=switched,
            overheat_c=overheat_c,
            power_w=response.power_w,
            requests=response.requests,
            uplink_bytes=costs.wire_bytes,
            fell_back=response.fell_back,
        )

    def _squeezed(self, outcome: Outcome) -> Outcome:
        """Leave out the grid's axes of clocks that cannot be set."""
        fixed = tuple(1 + k for k in range(len(DOMAINS)) if k not in self._settable)

        def squeeze(values: Floats) -> Floats:
            return values.squeeze(fixed) if values.ndim == 1 + GRID else values

        return outcome.map(squeeze)

    def _switched_grid(self, boards: slice) -> Floats:
        """Share of axes that each action would change, shape (n_boards, *axes)."""
        sizes = [len(axis.values) for axis in self.layout.axes]
        total = np.zeros(1)
        for k, size in enumerate(sizes):
            changed = np.arange(size) != self._action[boards, k][:, None]
            shape = [-1, *(size if k == j else 1 for j in range(len(sizes)))]
            total = total + changed.reshape(shape)
        return total / len(sizes)

    def _temperature_c(self, now: Surroundings) -> Floats:
        return self.world.device.temperature_c(now.ambient_c, self._fast_c, self._slow_c)

    def _overheat_c(self, now: Surroundings) -> Floats:
        return np.maximum(self._temperature_c(now) - self.world.device.throttle_c, 0.0)

    def _idle_power_w(self) -> float:
        top = [float(table[-1]) for table in self._tables]
        power_w = self.world.device.total_power_w(
            *top, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0
        )
        return float(power_w)
