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
GOALS = (0.6, 0.8, 0.95)
"""Shares of the latency target that are tried as the goal."""
SMOOTHING = 0.3
"""Weight of a step in the estimate of what the highest clocks would come to."""
RATES_HZ = np.geomspace(0.5, 64.0, 29)
"""Request rates for which the cheapest points are tabulated, a sixth apart."""
SHORTEST_S = 1e-6


@dataclass(frozen=True, slots=True)
class _Hull:
    """Points that are cheapest alone or mixed, by rising speed; arrays of shape (k,).

    Attributes:
        speed: over that of the highest clocks.
        actions: shape (k, n_axes).
    """

    speed: Floats
    actions: Indices


class TwoPoints:
    """Mixes two operating points (POET, JouleGuard and CALOREE by Hoffmann and others).

    Published (Imes et al., RTAS 2015; Hoffmann, SOSP 2015; Mishra et al., ASPLOS 2018): a
    controller finds the speed that meets a performance goal from what was measured and from an
    estimate of the base speed; among the configurations of a profile the two are taken that reach
    it on average with the least energy, of which the linear program of all schedules needs no more.

    Chosen here: the profile is the nominal device model at the request rate that was announced; the
    goal is a share of the latency target; a control step is the least that a point is held, so
    that the two take turns; the route, which the originals do not have, is a fixed one or that
    which split computing predicts to be the fastest. Goal and route are those that cost least on
    search episodes.
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
        self._speed, self._credit = np.ones(n), np.zeros(n)

    def decide(self, observations: Observations) -> Indices:
        """Estimate, look the speed up, and take the one or the other point."""
        readings = self._encoder.decode(observations)
        expected_s = self._times.total_s(readings)
        routes = self._chosen_routes(expected_s)
        boards = np.arange(len(routes))
        self._estimate(readings, routes, expected_s[boards, routes])
        wanted = np.clip(self._base_s / (self._goal * readings.latency_target_s), 0.0, 1.0)
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

    def _estimate(self, readings: Readings, routes: Indices, expected_s: Floats) -> None:
        """Latency that the highest clocks would come to; anew where the route changes."""
        measured_s = readings.latency_s * self._speed
        is_new = (routes != self._routes) | (readings.latency_s <= 0.0)
        base_s = expected_s if self._base_s is None else self._base_s
        followed_s = base_s + SMOOTHING * (measured_s - base_s)
        self._base_s = np.where(is_new, expected_s, followed_s)
        self._routes = routes

    def _hull(self, route: int, rate_hz: float) -> _Hull:
        hulls = self._hulls[route]
        return hulls[int(np.abs(np.log(RATES_HZ / max(rate_hz, RATES_HZ[0]))).argmin())]

    def _point(self, hull: _Hull, board: int, wanted: float) -> Indices:
        """The upper of two neighbours as often as the mean speed needs it."""
        upper = min(int(np.searchsorted(hull.speed, wanted)), len(hull.speed) - 1)
        lower = max(upper - 1, 0)
        span = hull.speed[upper] - hull.speed[lower]
        share = 1.0 if span <= 0.0 else (wanted - hull.speed[lower]) / span
        self._credit[board] += min(max(share, 0.0), 1.0)
        takes_upper = self._credit[board] >= 1.0
        self._credit[board] -= takes_upper
        taken = upper if takes_upper else lower
        self._speed[board] = hull.speed[taken]
        return hull.actions[taken]


def _hulls(known: NominalModel, actions: Indices) -> list[_Hull]:
    """The cheapest points of a route, for each of `RATES_HZ`."""
    head_s, idle_w, request_j = criteria(known, Actions(known, actions)).T
    speed = head_s.min() / np.maximum(head_s, SHORTEST_S)
    return [_hull(speed, idle_w + rate_hz * request_j, actions) for rate_hz in RATES_HZ]


def _hull(speed: Floats, power_w: Floats, actions: Indices) -> _Hull:
    """Lower convex hull of power over speed, from the cheapest point on (Andrew 1979)."""
    kept: list[int] = []
    for k in np.lexsort((power_w, speed)):
        if kept and speed[k] == speed[kept[-1]]:
            continue
        while len(kept) > 1 and _is_above(kept[-2], kept[-1], k, speed, power_w):
            kept.pop()
        kept.append(int(k))
    first = int(np.argmin(power_w[kept]))
    return _Hull(speed[kept[first:]], actions[kept[first:]])


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
