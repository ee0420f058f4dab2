"""Clocks of processor, GPU and memory in closed form, and the route that costs least with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agents.baselines.cut_times import CutTimes
from agents.baselines.rollout import mean_cost
from agents.deciders.nominal import NominalModel, faithful_routes
from agents.deciders.rule import Fit, Parameters, Rule, RuleKind
from agents.seeds import N_TRIED, search_seeds
from envs.arrays import Floats
from envs.plant import Indices, Plant, Readings
from envs.sim.clocks import clock_tables
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, Observations, observation_fields
from hw.device.model import DOMAINS

MARGINS = (0.7, 0.85, 1.0)
"""Shares of the latency target that are tried as the deadline."""
SMALLEST = 1e-12
SHORTEST_S = 1e-6


class ClosedForm:
    """Joint clocks by the stationary point of a convex model of time and energy.

    Published (Han et al., arXiv 2509.17970): the time of an inference is a sum of work over
    compute clock and work over memory clock, power rises with the cubes of both, and the clocks of
    least energy under a deadline follow; whether to compute or to offload is chosen beside it.

    Chosen here: time is `a_0 + sum a_d / f_d` over all clocks and power `P_0 + sum k_d f_d^3`, both
    taken from the nominal device. Energy `(P_0 + sum k_d f_d^3) (sum a_d / f_d)` is stationary
    where `f_d = m (a_d / k_d)^(1/4)`, on which ray it is least at `m = (P_0 / (2 K))^(1/3)`, with
    `K = sum k_d (a_d / k_d)^(3/4)`; time in the cost is so much power more; a deadline raises m to
    `A / (T - a_0)`, with `A = sum a_d (k_d / a_d)^(1/4)`. Clocks are rounded up to operating
    points. All routes that lose at most a point of accuracy are compared by the same cost. The
    share of the target that is the deadline is the one that costs least on search episodes.
    """

    def __init__(self, known: NominalModel, margin: float) -> None:
        """Take the model's coefficients from the nominal device.

        Args:
            known: about the plant.
            margin: share of the latency target that is the deadline.
        """
        self._known, self._margin = known, margin
        self._times, self._allowed = CutTimes(known), faithful_routes(known)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        self._tables = clock_tables(known.device)
        head = known.costs.head
        work = (head.cpu_cycles, head.gpu_cycles, head.emc_cycles)
        self._work = np.maximum(np.stack([np.asarray(w, dtype=float) for w in work]), SMALLEST)
        self._fixed_s = np.asarray(head.fixed_s, dtype=float)
        self._rest_w, self._cubic = _cubic_power(known)
        ratio = self._work / self._cubic[:, None]
        self._ray = ratio**0.25  # (3, n_routes)
        self._time = (self._work / self._ray).sum(axis=0)
        self._cube = (self._cubic[:, None] * self._ray**3).sum(axis=0)

    def begin(self, plant: Plant, n: int) -> None:
        """Nothing is remembered between steps."""

    def decide(self, observations: Observations) -> Indices:
        """Compute the clocks of every route, and compare routes."""
        readings = self._encoder.decode(observations)
        away_s = self._times.total_s(readings) - self._times.head_s
        eta, most_w = readings.eta[:, None], self._known.layout.max_power_w
        weighed_w = self._rest_w + (1.0 - eta) / np.maximum(eta, 0.01) * most_w
        least = (weighed_w / (2.0 * self._cube)) ** (1.0 / 3.0)
        deadline_s = self._margin * readings.latency_target_s[:, None]
        left_s = np.maximum(deadline_s - away_s - self._fixed_s, SHORTEST_S)
        scale = np.maximum(least, self._time / left_s)
        places = self._places(scale[:, None] * self._ray)  # (n, 3, n_routes)
        costs = self._costs(readings, places, away_s)
        routes = self._allowed[costs[:, self._allowed].argmin(axis=1)]
        return self._actions(places, routes)

    def _places(self, wanted_hz: Floats) -> Indices:
        """Lowest operating points that are not below the clocks, or the highest."""
        found = [
            np.minimum(np.searchsorted(table, wanted_hz[:, k]), len(table) - 1)
            for k, table in enumerate(self._tables)
        ]
        return np.stack(found, axis=1)

    def _costs(self, readings: Readings, places: Indices, away_s: Floats) -> Floats:
        """Weighted energy and time of a request by the same model, shape (n, n_routes)."""
        hz = np.stack([table[places[:, k]] for k, table in enumerate(self._tables)], axis=1)
        head_s = self._fixed_s + (self._work / hz).sum(axis=1)
        power_w = self._rest_w + (self._cubic[:, None] * hz**3).sum(axis=1)
        radio_j = self._times.send_s(readings) * readings.radio_w[:, None]
        eta, most_w = readings.eta[:, None], self._known.layout.max_power_w
        time_s = head_s + away_s
        late = time_s > self._margin * readings.latency_target_s[:, None]
        cost = eta * (power_w * head_s + radio_j) + (1.0 - eta) * most_w * time_s
        found: Floats = cost + 1e3 * late * time_s  # in time first
        return found

    def _actions(self, places: Indices, routes: Indices) -> Indices:
        names = [axis.name for axis in self._known.layout.axes[:-1]]
        boards = np.arange(len(routes))
        columns = [places[boards, DOMAINS.index(name), routes] for name in names]
        return np.stack([*columns, routes], axis=1)


def _cubic_power(known: NominalModel) -> tuple[float, Floats]:
    """Power of a busy board as a constant and a coefficient of each clock's cube, W and W/Hz^3."""
    tables = clock_tables(known.device)
    top = [float(table[-1]) for table in tables]

    def busy_w(hz: Sequence[float]) -> float:
        busy = {"cpu_util": 1.0, "gpu_util": 1.0, "traffic_bytes_per_s": 0.0}
        return float(known.device.power.total_w(*hz, **busy))

    cubic = []
    for k, table in enumerate(tables):
        lowest = [*top[:k], float(table[0]), *top[k + 1 :]]
        span = top[k] ** 3 - float(table[0]) ** 3
        cubic.append((busy_w(top) - busy_w(lowest)) / span if span > 0.0 else 0.0)
    coefficients = np.maximum(np.array(cubic), SMALLEST / np.array(top) ** 3)
    rest_w = busy_w(top) - float((coefficients * np.array(top) ** 3).sum())
    return max(rest_w, SMALLEST), coefficients


def _fit(world: SimConfig, seed: int) -> Fit:
    """Take the margin that costs least on search episodes."""
    seeds = search_seeds(seed, N_TRIED)
    options: Sequence[Parameters] = [{"margin": margin} for margin in MARGINS]
    costs = [mean_cost(world, Rule(CLOSED_FORM, p).simulated(world), seeds) for p in options]
    best = options[costs.index(min(costs))]
    note = f"takes {best['margin']:.0%} of the target for the deadline"
    return Fit(dict(best), len(options) * len(seeds) * world.n_steps, note)


CLOSED_FORM = RuleKind(
    "closed-form", lambda known, p: ClosedForm(known, float(p["margin"])), _fit, searched=True
)
