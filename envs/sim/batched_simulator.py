"""Batched simulator of boards stepped at once: the physics behind both simulated environments."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.governed.governing import Governing
from envs.governed.table import GovernedFactors
from envs.governed.table_file import left_table
from envs.plant import Indices, Outcome, Readings
from envs.scenarios.episodes import EpisodeConditions
from envs.scenarios.operating_conditions import BelievedLink, OperatingConditions
from envs.sim.clocks import Clocks, clock_tables, grid_places
from envs.sim.response import Response, respond
from envs.sim.sensors import Sensors
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from hw.device.model import DOMAINS

EXPECTED_SLOWDOWN = 1.03
"""Background work that a plan counts with; 1.0 would cut every deadline too fine."""
LONGEST_PAUSE = 0.9
"""Share of a control step that a decision may take from a board that waits for it."""
Number = TypeVar("Number", np.int64, np.float64)
NEVER_RESTS_HZ = 1e3
"""Beyond what is tabulated of governors: networks of 31 ms and more leave no pause there."""
GRID = len(DOMAINS) + 1
"""Axes of a grid over all actions, those with a single clock included."""


class ClockMoves(Protocol):
    """What clocks that move within a step come to, as `envs.governed.table.GovernedTable` tells."""

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Over boards pinned to the actions' clocks."""


class BatchedSimulator:
    """`n` boards with the same device, network and list of scenarios; a `Plant` for any n."""

    late_s = 0.0

    def __init__(self, world: SimConfig, n: int) -> None:
        """Create `n` boards; call `reset` before `step`."""
        self.world = world
        self.layout = world.layout
        self.n = n
        self.n_steps, self.step_s = world.n_steps, world.step_s
        device = world.device
        self._tables = clock_tables(device)
        self._settable = [k for k, table in enumerate(self._tables) if len(table) > 1]
        self._rows = world.costs.rows()
        scenario = world.scenarios[0]  # the same in all
        self._server_j = (scenario.server_j_per_request, scenario.server_j_per_flop)
        self._counts_server = any(self._server_j)
        self._governors, self._left = world.governed, np.empty(0, dtype=np.int64)
        self._believed_rows = world.nominal.costs.rows() if world.nominal else None
        # Share of a step during which the clocks of the step before are still in force.
        delays_s = [device.domains[name].actuation_delay_s for name in DOMAINS]
        on = world.effects.actuation_delay
        self._lag = tuple(delay_s / world.step_s if on else 0.0 for delay_s in delays_s)

    @property
    def cpu_util(self) -> Floats:
        """Busy share of each board's CPU during the last step."""
        return self._sensors.cpu_util

    @property
    def gpu_util(self) -> Floats:
        """Busy share of each board's GPU during the last step."""
        return self._sensors.gpu_util

    def leave_clocks(self, governing: Governing) -> None:
        """Leave some clocks to governors from now on, whatever actions say of them.

        What governors come to is tabulated; where that has to be made it takes up to a minute.
        """
        domains = self.layout.domains
        self._left = np.flatnonzero([name in governing.domains for name in domains])
        if not len(self._left):  # the board has none of them
            return
        if self.world.governed is None or len(self._left) == len(domains):
            self._governors = left_table(self.world.device, self.world.costs.head, governing)

    def reset(self, seeds: NDArray[np.uint64]) -> Readings:
        """Begin an episode on every board, all clocks at maximum, everything on the edge."""
        world = self.world
        self._episodes = EpisodeConditions(
            world.scenarios, seeds, world.n_steps, world.step_s, world.randomisation
        )
        self._t = 0
        self._action = np.tile([len(axis.values) - 1 for axis in self.layout.axes], (self.n, 1))
        self._clocks_hz = [np.full(self.n, table[-1]) for table in self._tables]
        self._backlog, self._blocked_s = np.zeros(self.n), np.zeros(self.n)
        self._served_hz = np.full(self.n, 1.0 / world.objective().reference_latency_s)
        self._battery = self._episodes.battery_level
        self._sensors = Sensors(world, self.n, self._episodes.row(0))
        self._fast_c = np.zeros(self.n)
        self._slow_c = self._slow_at_rest_c(self._now(0))
        return self.readings()

    def step(self, actions: Indices) -> Outcome:
        """Apply clocks and split, serve one control step, and let time pass."""
        world, device = self.world, self.world.device
        actions = self._with_left_clocks(actions)
        now = self._now(self._t + 1)
        clocks_hz = self._allowed_hz(self._asked_hz(actions), now)
        thinking = self._thinking(now)
        new, old = actions[:, -1], self._action[:, -1]
        costs, sent = _blended(self._rows, new, old, thinking)
        clocks = self._effective(clocks_hz, self._clocks_hz, thinking)
        governed = self._governed(self._busy(now, actions), actions)
        top = Clocks(*self._allowed_hz([np.full(self.n, t[-1]) for t in self._tables], now))
        waiting = (self._backlog, self._blocked_s)
        response = self._respond(costs, sent, clocks, now, *waiting, governed, top)
        switched = (actions != self._action).mean(axis=1) * world.effects.switching_cost
        self._warm(response.power_w, now)
        self._clocks_hz = clocks_hz
        self._action = actions
        self._backlog, self._blocked_s = response.backlog, response.blocked_s
        self._served_hz = response.served_hz
        used = response.power_w * world.step_s / self._episodes.battery_j
        self._battery = np.maximum(self._battery - used, 0.0)
        self._t += 1
        expected = costs
        if self._believed_rows is not None:
            expected, _ = _blended(self._believed_rows, new, old, thinking)
        self._sensors.see(now, expected, sent, Clocks(*clocks_hz), response, governed)
        over_c = np.maximum(self._temperature_c(now) - device.thermal.throttle_c, 0.0)
        return self._outcome(costs, sent, response, switched, over_c * world.effects.thermal)

    def readings(self) -> Readings:
        """Readings as the boards' sensors show them; the application knows its next requests."""
        row = min(self._t + 1, self.n_steps)
        now, seen = self._now(row), self._sensors
        temperature_c = seen.temperature_c(now, self._temperature_c(now))
        link_bps, rtt_s, age_s, load = seen.link_bps, seen.rtt_s, seen.link_age_s, seen.server_load
        server_flops_per_s = seen.server_flops_per_s
        if not self.world.effects.stale_readings:
            link_bps, rtt_s, age_s = now.link_bps, now.rtt_s, np.zeros(self.n)
            load, server_flops_per_s = now.server_load, now.server_flops_per_s
        return Readings(
            link_bps=link_bps,
            link_age_s=age_s,
            rtt_s=rtt_s,
            server_idle=1.0 - load,
            server_flops_per_s=server_flops_per_s,
            arrival_hz=now.arrival_hz
            if self.world.is_back_to_back
            else self._episodes.announced_hz(row),
            arrival_scv=now.arrival_scv,
            backlog=self._backlog,
            latency_target_s=now.latency_target_s,
            eta=now.eta,
            radio_w=now.radio_w + now.radio_w_per_bps * link_bps,
            temperature_margin_c=self.world.device.thermal.throttle_c - temperature_c,
            latency_s=seen.latency_s,
            power_w=seen.power_w,
            clocks_hz=np.stack([self._clocks_hz[k] for k in self._settable], axis=1),
            edge_share=self.world.costs.edge_share[self._action[:, -1]],
            decision_s=seen.decision_s,
            latency_factor=seen.factors.latency,
            away_factor=seen.factors.away,
            power_factor=seen.factors.power,
            busy=seen.busy,
            battery_level=self._battery,
        )

    def every_outcome(self, boards: slice, moves: ClockMoves | None = None) -> Outcome:
        """Outcome of every action in the true state, for some boards: what an oracle may see.

        Link, server load, requests and slow times of the coming step are known exactly; of the
        bursts of the board's other work, and of hiccups, only what is usual.

        Args:
            boards: to look at.
            moves: of the clocks within the step; those in force if None.

        Returns:
            Arrays in single precision, broadcastable to (n_boards, *sizes of the layout's axes);
            neither the state nor the temperature changes.
        """
        now = self._now(self._t + 1).for_actions(boards, GRID)
        now = replace(now, slowdown=_single(np.full(1, EXPECTED_SLOWDOWN)), hiccup_draw=None)
        grid = [
            _single(table.reshape([-1 if axis == k + 1 else 1 for axis in range(1 + GRID)]))
            for k, table in enumerate(self._tables)
        ]
        before = [_single(_widen(hz[boards])) for hz in self._clocks_hz]
        thinking = self._thinking(now)
        every = np.arange(self._rows.shape[1]).reshape(1, 1, 1, 1, -1)
        old = _widen(self._action[boards, -1])
        costs, sent = _blended(_single(self._rows), every, old, thinking)
        clocks = self._effective(grid, before, thinking)
        backlog = _single(_widen(self._backlog[boards]))
        blocked_s = _single(_widen(self._blocked_s[boards]))
        governed = self._governed(now, None) if moves is None else moves.factors(None, now)
        response = self._respond(costs, sent, clocks, now, backlog, blocked_s, governed)
        none = _single(np.zeros(1))
        outcome = self._squeezed(self._outcome(costs, sent, response, none, none))
        return replace(outcome, switched=self._switched_grid(boards))

    def outcomes(self, actions: Indices, boards: slice, *, settled: bool = False) -> Outcome:
        """Outcome of some actions in the true state of the coming step, for some boards.

        Unlike `every_outcome` this includes bursts of the board's other work: it is what `step`
        would bring on average over hiccups, but for throttling.

        Args:
            actions: shape (k, n_axes).
            boards: to look at.
            settled: as if each action had been in force for long and no request waited, so that the
                outcome depends on nothing that was decided before.

        Returns:
            Arrays in single precision, broadcastable to (n_boards, k); the state does not change.
        """
        now = replace(self._now(self._t + 1).for_actions(boards, 1), hiccup_draw=None)
        if settled:  # what the client takes the link for comes from what was sent
            now = replace(now, believed_link=None)
        asked = [_single(hz) for hz in self._asked_hz(actions)]
        thinking = np.zeros_like(now.decision_s) if settled else self._thinking(now)
        old = self._action[boards, -1][:, None]
        costs, sent = _blended(_single(self._rows), actions[None, :, -1], old, thinking)
        before = asked if settled else [_single(hz[boards, None]) for hz in self._clocks_hz]
        clocks = self._effective(asked, before, thinking)
        waiting = (
            np.zeros((2, 1, 1))
            if settled
            else [self._backlog[boards, None], self._blocked_s[boards, None]]
        )
        backlog, blocked_s = (_single(values) for values in waiting)
        governed = self._governed(now, actions)
        response = self._respond(costs, sent, clocks, now, backlog, blocked_s, governed)
        none = _single(np.zeros(1))
        outcome = self._outcome(costs, sent, response, none, none)
        if settled:
            return outcome
        switched = (actions != self._action[boards, None]).mean(axis=2, dtype=np.float32)
        return replace(outcome, switched=switched * np.float32(self.world.effects.switching_cost))

    def eta(self) -> Floats:
        """Weight of energy of each board in the coming step."""
        return self._now(min(self._t + 1, self.n_steps)).eta

    def close(self) -> None:
        """Nothing is held."""

    def _now(self, row: int) -> OperatingConditions:
        """Operating conditions at a row, as far as they are simulated."""
        now, effects, seen = self._episodes.row(row), self.world.effects, self._sensors
        spared = np.clip(1.0 - self._battery / self._episodes.low_level, 0.0, 1.0)
        off = np.zeros(self.n)
        return replace(
            now,
            eta=now.eta + (1.0 - now.eta) * spared,
            arrival_hz=self._served_hz if self.world.is_back_to_back else now.arrival_hz,
            hidden_load=now.hidden_load if effects.hidden_load else off,
            tail_share=now.tail_share if effects.latency_tails else off,
            decision_s=now.decision_s if effects.decision_delay else off,
            link_blind=now.link_blind if effects.stale_readings else off,
            believed_link=BelievedLink(seen.link_bps, seen.rtt_s, seen.server_flops_per_s)
            if effects.stale_readings
            else None,
        )

    def _thinking(self, now: OperatingConditions) -> Floats:
        """Share of the step during which the action before is still in force."""
        if self.world.blocking:
            return np.zeros_like(now.decision_s)
        return np.minimum(now.decision_s / self.world.step_s, 1.0)

    def _busy(self, now: OperatingConditions, actions: Indices) -> OperatingConditions:
        """The conditions that governors meet: a board that computes back to back never rests."""
        if self._governors is None or not self.world.is_back_to_back:
            return now
        stays = self.world.costs.wire_bytes[actions[:, -1]] == 0.0
        return replace(now, arrival_hz=np.where(stays, NEVER_RESTS_HZ, now.arrival_hz))

    def _governed(
        self, now: OperatingConditions, actions: Indices | None
    ) -> GovernedFactors | None:
        """What governors come to under some actions, or all; None where clocks are pinned."""
        if self._governors is None:
            return None
        places = None if actions is None else grid_places(self.world.device, self.layout, actions)
        return self._governors.factors(places, now)

    def _respond(
        self,
        costs: SplitCosts,
        sent: Floats,
        clocks: Clocks,
        now: OperatingConditions,
        backlog: Floats,
        blocked_s: Floats,
        governed: GovernedFactors | None,
        top: Clocks | None = None,
        rest: Clocks | None = None,
    ) -> Response:
        world = self.world
        now = replace(now, rtt_s=now.rtt_s * sent)
        if (link := now.believed_link) is not None:
            now = replace(now, believed_link=replace(link, rtt_s=link.rtt_s * sent))
        if world.measured is not None:
            now = replace(now, build=world.measured.around(world.device, clocks, now.build))
        closed_s = blocked_s if blocked_s.any() else None
        if world.blocking:
            paused_s = np.minimum(now.decision_s, LONGEST_PAUSE * world.step_s)
            closed_s = paused_s if closed_s is None else paused_s + closed_s
        return respond(
            world.device,
            costs,
            clocks,
            now,
            backlog,
            world.step_s,
            world.effects,
            closed_s=closed_s,
            governed=governed,
            top=top,
            rest=rest,
            is_back_to_back=world.is_back_to_back,
        )

    def _outcome(
        self,
        costs: SplitCosts,
        sent: Floats,
        response: Response,
        switched: Floats,
        overheat_c: Floats,
    ) -> Outcome:
        lost = costs.fallback_accuracy - costs.accuracy
        energy_j = response.energy_j
        server_j = np.broadcast_to(np.zeros(1, dtype=energy_j.dtype), energy_j.shape)
        if self._counts_server:
            each_j = self._server_j[0] + self._server_j[1] * costs.tail_flops
            server_j = np.asarray(each_j * sent * response.answered_away, dtype=server_j.dtype)
            energy_j = energy_j + server_j
        return Outcome(
            energy_j=energy_j,
            latency_s=response.latency_s,
            deadline_hit_rate=response.deadline_hit_rate,
            accuracy=costs.accuracy + response.fell_back * lost,
            switched=switched,
            overheat_c=overheat_c,
            power_w=response.power_w,
            requests=response.requests,
            uplink_bytes=costs.wire_bytes,
            fell_back=response.fell_back,
            server_j=server_j,
            held_up=response.held_up,
            delay_s=response.delay_s,
        )

    def _with_left_clocks(self, actions: Indices) -> Indices:
        """The actions, with the highest caps on clocks that are left to governors."""
        if not len(self._left):
            return actions
        actions = actions.copy()
        actions[:, self._left] = [len(self.layout.axes[k].values) - 1 for k in self._left]
        return actions

    def _asked_hz(self, actions: Indices) -> list[Floats]:
        """Clocks that the actions ask for, in the order of `DOMAINS`."""
        asked = [np.full(len(actions), table[-1]) for table in self._tables]
        for column, k in enumerate(self._settable):
            asked[k] = self._tables[k][actions[:, column]]
        return asked

    def _allowed_hz(self, clocks_hz: list[Floats], now: OperatingConditions) -> list[Floats]:
        """Lower clocks to what a hot board is still given, on its table."""
        temperature_c = self._temperature_c(now)
        is_cool = (temperature_c <= self.world.device.thermal.throttle_c).all()
        if is_cool or not self.world.effects.thermal:
            return clocks_hz
        allowed = []
        for name, table, hz in zip(DOMAINS, self._tables, clocks_hz, strict=True):
            cap = self.world.device.throttled_hz_cap(name, temperature_c)
            top = np.maximum(np.searchsorted(table, cap, side="right") - 1, 0)
            allowed.append(np.minimum(hz, table[top]))
        return allowed

    def _effective(
        self, clocks_hz: list[Floats], before_hz: list[Floats], thinking: Floats
    ) -> Clocks:
        """Average the clocks over a step that begins at the old ones."""
        return Clocks(
            *(
                hz + np.minimum(lag + thinking, 1.0) * (before - hz)
                for hz, before, lag in zip(clocks_hz, before_hz, self._lag, strict=True)
            )
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
        total = _single(np.zeros(1))
        weight = np.float32(self.world.effects.switching_cost / len(sizes))
        for k, size in enumerate(sizes):
            changed = np.arange(size) != self._action[boards, k][:, None]
            shape = [-1, *(size if k == j else 1 for j in range(len(sizes)))]
            total = total + weight * changed.reshape(shape)
        return total

    def _warm(self, power_w: Floats, now: OperatingConditions) -> None:
        """Let a step's power warm the boards; a larger resistance acts like more power."""
        if self.world.effects.thermal:
            self._fast_c, self._slow_c = self.world.device.thermal.step(
                self._fast_c, self._slow_c, power_w * _resistance(now), self.world.step_s
            )

    def _temperature_c(self, now: OperatingConditions) -> Floats:
        return self.world.device.thermal.temperature_c(now.ambient_c, self._fast_c, self._slow_c)

    def _slow_at_rest_c(self, now: OperatingConditions) -> Floats:
        """Heat of the slow node after a long time without load at the top clocks."""
        if not self.world.effects.thermal:
            return np.zeros(self.n)
        top = [float(table[-1]) for table in self._tables]
        power_w = self.world.device.power.total_w(
            *top, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0
        )
        return self.world.device.thermal.slow_c_per_w * power_w * _resistance(now)


def _single(values: Floats) -> Floats:
    """The values in single precision."""
    return values.astype(np.float32)


def _resistance(now: OperatingConditions) -> Floats:
    return now.resistance_scale * (1.0 if now.build is None else now.build.resistance)


def _widen(values: NDArray[Number]) -> NDArray[Number]:
    """Give an array over boards four axes more, to broadcast over all actions."""
    return values.reshape(-1, 1, 1, 1, 1)


def _blended(
    rows: Floats, new: Indices, old: Indices, thinking: Floats
) -> tuple[SplitCosts, Floats]:
    """Mean costs of a step that begins on the old route, and the share of requests sent away."""
    after = rows[:, new]
    if not thinking.any():
        return SplitCosts.from_rows(after), np.ones(1, dtype=rows.dtype)
    before = rows[:, old]
    leaves, left = (SplitCosts.from_rows(part).wire_bytes > 0.0 for part in (after, before))
    mixed = SplitCosts.from_rows(after + thinking * (before - after))
    return mixed, leaves * (1.0 - thinking) + left * thinking
