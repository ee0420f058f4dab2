"""Two operating points mixed by feedback, so that a latency goal is just met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.baselines.cut_times import CutTimes
from agents.baselines.rollout import mean_cost
from agents.deciders.base import axis_sizes
from agents.deciders.nominal import Actions, NominalModel, faithful_routes
from agents.deciders.pareto import criteria, useful_actions
from agents.deciders.rule import Fit, Parameters, Rule, RuleKind
from agents.seeds import N_TRIED, search_seeds
from envs.arrays import Floats
from envs.plant import Indices, Plant, Readings
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, Observations, observation_fields

FASTEST = -1
"""Stands for the route that is fastest at present."""
GOALS = (0.3, 0.45, 0.6, 0.8)
"""Shares of the latency target that are tried as the goal."""
SMOOTHING = 0.3
"""Weight of a step in the estimate of what the highest clocks would come to."""
RATES_HZ = np.geomspace(0.5, 64.0, 29)
"""Request rates for which the cheapest points are tabulated, a sixth apart."""
SHORTEST_S = 1e-6


@dataclass(frozen=True, slots=True)
class _Hull:
    """Points that are cheapest alone or mixed, the fastest first; arrays of shape (k,).

    Attributes:
        slowness: time of the work on the board over what the highest clocks take.
        actions: shape (k, n_axes).
    """

    slowness: Floats
    actions: Indices


class TwoPoints:
    """Mixes two operating points (POET, JouleGuard and CALOREE by Hoffmann and others).

    Published (Imes et al., RTAS 2015; Hoffmann, SOSP 2015; Mishra et al., ASPLOS 2018): a
    controller finds the speed that meets a performance goal from what was measured and from an
    estimate of the base speed; among the configurations of a profile the two are taken that reach
    it on average with the least energy, for the linear program of all schedules needs no more.

    Chosen here: the profile is the nominal device model at the request rate that was announced; the
    goal is a mean latency, a share of the target, so that times and not speeds are averaged; a
    control step is the least that a point is held, so that the two take turns; the route, which the
    originals do not have, is a fixed one or that which split computing predicts to be the fastest.
    Goal and route are those that cost least on search episodes.
    """

    def __init__(self, known: NominalModel, route: int, goal: float) -> None:
        """Profile all routes.

        Args:
            known: about the plant.
            route: index, or `FASTEST`.
            goal: latency to hold, as a share of the target.
        """
        self._route, self._goal = route, goal
        self._n_axes = len(axis_sizes(known.layout))
        self._times, self._allowed = CutTimes(known), faithful_routes(known)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        actions = useful_actions(known)
        self._hulls = {
            int(r): _hulls(known, actions[actions[:, -1] == r])
            for r in (self._allowed if route == FASTEST else [route])
        }

    def begin(self, plant: Plant, n: int) -> None:
        """Begin with what the profile expects, at the highest clocks."""
        self._base_s: Floats | None = None
        self._routes = np.full(n, FASTEST, dtype=np.int64)
        self._slowness, self._credit = np.ones(n), np.zeros(n)

    def decide(self, observations: Observations) -> Indices:
        """Estimate, look up how slow the board may be, and take the one or the other point."""
        readings = self._encoder.decode(observations)
        expected_s = self._times.total_s(readings)
        routes = self._chosen_routes(expected_s)
        boards = np.arange(len(routes))
        base_s = self._estimate(readings, routes, expected_s[boards, routes])
        wanted = self._goal * readings.latency_target_s / np.maximum(base_s, SHORTEST_S)
        actions = np.empty((len(routes), self._n_axes), dtype=np.int64)
        for board in boards:
            hull = self._hull(int(routes[board]), float(readings.arrival_hz[board]))
            actions[board] = self._point(hull, int(board), float(wanted[board]))
        return actions

    def _chosen_routes(self, expected_s: Floats) -> Indices:
        if self._route != FASTEST:
            return np.full(len(expected_s), self._route, dtype=np.int64)
        chosen: Indices = self._allowed[expected_s[:, self._allowed].argmin(axis=1)]
        return chosen

    def _estimate(self, readings: Readings, routes: Indices, expected_s: Floats) -> Floats:
        """Latency that the highest clocks would come to; anew where the route changes."""
        measured_s = readings.latency_s / self._slowness
        is_new = (routes != self._routes) | (readings.latency_s <= 0.0)
        base_s = expected_s if self._base_s is None else self._base_s
        followed_s = base_s + SMOOTHING * (measured_s - base_s)
        found: Floats = np.where(is_new, expected_s, followed_s)
        self._base_s, self._routes = found, routes
        return found

    def _hull(self, route: int, rate_hz: float) -> _Hull:
        hulls = self._hulls[route]
        return hulls[int(np.abs(np.log(RATES_HZ / max(rate_hz, RATES_HZ[0]))).argmin())]

    def _point(self, hull: _Hull, board: int, wanted: float) -> Indices:
        """The faster of two neighbours as often as the mean latency needs it."""
        slower = min(int(np.searchsorted(hull.slowness, wanted)), len(hull.slowness) - 1)
        faster = max(slower - 1, 0)
        span = hull.slowness[slower] - hull.slowness[faster]
        share = 1.0 if span <= 0.0 else (hull.slowness[slower] - wanted) / span
        self._credit[board] += min(max(share, 0.0), 1.0)
        takes_faster = self._credit[board] >= 1.0
        self._credit[board] -= takes_faster
        taken = faster if takes_faster else slower
        self._slowness[board] = hull.slowness[taken]
        action: Indices = hull.actions[taken]
        return action


def _hulls(known: NominalModel, actions: Indices) -> list[_Hull]:
    """The cheapest points of a route, for each of `RATES_HZ`."""
    head_s, idle_w, request_j = criteria(known, Actions(known, actions)).T
    slowness = np.maximum(head_s, SHORTEST_S) / max(float(head_s.min()), SHORTEST_S)
    return [_hull(slowness, idle_w + rate_hz * request_j, actions) for rate_hz in RATES_HZ]


def _hull(slowness: Floats, power_w: Floats, actions: Indices) -> _Hull:
    """Lower convex hull of power over slowness, up to the cheapest point (Andrew 1979)."""
    kept: list[int] = []
    for k in np.lexsort((power_w, slowness)):
        if kept and slowness[k] == slowness[kept[-1]]:
            continue
        while len(kept) > 1 and _is_above(kept[-2], kept[-1], k, slowness, power_w):
            kept.pop()
        kept.append(int(k))
    n = int(np.argmin(power_w[kept])) + 1
    return _Hull(slowness[kept[:n]], actions[kept[:n]])


def _is_above(a: int, b: int, c: int, x: Floats, y: Floats) -> bool:
    """Whether point b lies on or above the line from a to c."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))


def _fit(world: SimConfig, seed: int) -> Fit:
    """Take the route and the goal that cost least on search episodes."""
    seeds = search_seeds(seed, N_TRIED)
    routes = [FASTEST, *(int(r) for r in faithful_routes(NominalModel.of(world)))]
    options: Sequence[Parameters] = [{"route": r, "goal": g} for r in routes for g in GOALS]
    costs = [mean_cost(world, Rule(TWO_POINTS, p).simulated(world), seeds) for p in options]
    best = options[costs.index(min(costs))]
    name = "the fastest route" if best["route"] == FASTEST else world.route_names[best["route"]]
    note = f"takes {name} and holds {best['goal']:.0%} of the target"
    return Fit(dict(best), len(options) * len(seeds) * world.n_steps, note)


TWO_POINTS = RuleKind(
    "two-points",
    lambda known, p: TwoPoints(known, int(p["route"]), float(p["goal"])),
    _fit,
    searched=True,
)
