"""A model of the stock governors, and rules that leave the clocks to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import axis_sizes
from agents.deciders.nominal import NominalModel, read_clocks
from agents.deciders.rule import Fit, Fitting, Parameters, RuleKind
from envs.arrays import Floats
from envs.plant import Indices, Plant, Readings
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from envs.spaces import ObservationEncoder, Observations, observation_fields

Routes = NDArray[np.int64]


class GovernorModel:
    """Stock governors at the control step's resolution; modelled, the targets are assumed.

    CPU: schedutil asks for 1.25 * f_max * utilisation, counted at f_max (kernel
    Documentation/scheduler/schedutil.rst); the host thread spins while the GPU works, as CUDA's
    default synchronisation does, so the core looks busy throughout an inference. GPU and memory:
    the clock at which the load would be `TARGET_LOAD`, as load-tracking devfreq governors do;
    the memory follows the GPU's load, for lack of a counter. All go to their maximum once the
    board is never idle. How much of its busy time a board spends on the GPU is the nominal
    device's share for the whole network.
    """

    HEADROOM = 1.25
    TARGET_LOAD = 0.7
    SATURATED = 0.95

    def __init__(self, known: NominalModel) -> None:
        """Prepare for a board; where none of its clocks is an axis, there is nothing to choose."""
        self._known = known
        self._tables = [np.array(axis.values) for axis in known.layout.axes[:-1]]

    def clocks(self, readings: Readings) -> Indices:
        """Clocks of n boards as indices, shape (n, n_domains), by how busy the last step was."""
        busy = readings.busy
        gpu_share = busy * self._gpu_part(readings) / self.TARGET_LOAD
        shares = {"cpu": self.HEADROOM * busy, "gpu": gpu_share, "emc": gpu_share}
        indices = np.empty(readings.clocks_hz.shape, dtype=np.int64)
        for k, (name, table) in enumerate(
            zip(self._known.layout.domains, self._tables, strict=True)
        ):
            wanted = np.searchsorted(table, shares[name] * readings.clocks_hz[:, k])
            top = len(table) - 1
            indices[:, k] = np.where(busy >= self.SATURATED, top, np.minimum(wanted, top))
        return indices

    def _gpu_part(self, readings: Readings) -> Floats:
        """Share of an inference during which the GPU works."""
        clocks = read_clocks(self._known, readings)
        whole = SplitCosts.from_rows(self._known.costs.rows()[:, -1]).head
        cpu_s, gpu_s = whole.busy_s(clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        return np.divide(gpu_s, whole.fixed_s + cpu_s + gpu_s)


class Router(Protocol):
    """Chooses routes only."""

    def begin(self, n: int) -> None:
        """Forget what was; n boards begin an episode."""

    def routes(self, readings: Readings) -> Routes:
        """Choose the route of each board, shape (n,)."""


class FixedRoute:
    """The same route always."""

    def __init__(self, route: int) -> None:
        """Remember the route's index."""
        self._route = route

    def begin(self, n: int) -> None:
        """Nothing is remembered between steps."""

    def routes(self, readings: Readings) -> Routes:
        """Repeat the route for every board."""
        return np.full(len(readings.link_bps), self._route, dtype=np.int64)


class Governed:
    """A rule for the route under stock governors, as split computing is usually compared (DVFO).

    On a real board its kernel's own governors set the clocks, which are then no axes.
    """

    def __init__(self, known: NominalModel, router: Router) -> None:
        """Combine `router` with the governors' model."""
        self._router = router
        self._governor = GovernorModel(known)
        self._encoder = ObservationEncoder(observation_fields(known.layout))
        self._n_axes = len(axis_sizes(known.layout))

    def begin(self, plant: Plant, n: int) -> None:
        """Start the router over."""
        self._router.begin(n)

    def decide(self, observations: Observations) -> Indices:
        """Choose clocks as the governors do, and the route as the rule does."""
        readings = self._encoder.decode(observations)
        actions = np.empty((len(observations), self._n_axes), dtype=np.int64)
        actions[:, :-1] = self._governor.clocks(readings)
        actions[:, -1] = self._router.routes(readings)
        return actions


def routing(
    name: str,
    router: Callable[[NominalModel, Parameters], Router],
    fit: Fitting | None = None,
    *,
    searched: bool = False,
) -> RuleKind:
    """A kind of rule that chooses routes alone."""
    return RuleKind(
        name,
        lambda known, p: Governed(known, router(known, p)),
        fit,
        searched=searched,
        leaves_clocks=True,
    )


FIXED_ROUTE = routing("fixed-route", lambda _known, p: FixedRoute(int(p["route"])))


def fit_route(route: int, note: str = "") -> Fitting:
    """Fit `FIXED_ROUTE` to a route; negative ones count from the end."""

    def fit(world: SimConfig, _seed: int) -> Fit:
        n_routes = axis_sizes(world.layout)[-1]
        modelled = f"clocks by modelled stock governors{note}"
        return Fit({"route": route % n_routes}, note=modelled)

    return fit
