"""Rules that choose routes alone, under the stock governors or at the highest clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import axis_sizes, top_clocks
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Fit, Fitting, Parameters, RuleKind
from envs.governed.governing import Governing
from envs.plant import Indices, Plant, Readings
from envs.sim.sim_config import SimConfig
from envs.spaces import ObservationEncoder, Observations, observation_fields

Routes = NDArray[np.int64]
MAX = "max-"
"""Begins the names of rules at the highest clocks."""


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


class Routed:
    """A rule for the route, as split computing is usually compared (DVFO), at the highest clocks.

    Where these are left to governors, what it says of them does not count.
    """

    def __init__(self, known: NominalModel, router: Router) -> None:
        """Take a router to a board."""
        self._router, self._layout = router, known.layout
        self._encoder = ObservationEncoder(observation_fields(known.layout))

    def begin(self, plant: Plant, n: int) -> None:
        """Start the router over."""
        self._router.begin(n)

    def decide(self, observations: Observations) -> Indices:
        """Choose the route as the rule does."""
        actions = top_clocks(self._layout, len(observations))
        actions[:, -1] = self._router.routes(self._encoder.decode(observations))
        return actions


RouteFitting = Callable[[RuleKind, SimConfig, int], Fit]
"""Fits a rule of a kind to a world, by a seed."""


def routing(
    name: str,
    router: Callable[[NominalModel, Parameters], Router],
    fit: RouteFitting | None = None,
    *,
    searched: bool = False,
    governing: Governing | None = None,
) -> RuleKind:
    """A kind of rule that chooses routes alone, at the highest clocks or under governors."""

    def build(known: NominalModel, parameters: Parameters) -> Routed:
        return Routed(known, router(known, parameters))

    kind = RuleKind(name, build, searched=searched, governing=governing)
    return kind if fit is None else replace(kind, fit=partial(fit, kind))


def routings(
    name: str,
    router: Callable[[NominalModel, Parameters], Router],
    fit: RouteFitting,
    *,
    searched: bool = False,
) -> tuple[RuleKind, RuleKind]:
    """The same rule under the stock governors and, with `MAX` before its name, at the top."""
    return (
        routing(name, router, fit, searched=searched, governing=Governing()),
        routing(MAX + name, router, fit, searched=searched),
    )


def _fixed(_known: NominalModel, parameters: Parameters) -> FixedRoute:
    return FixedRoute(int(parameters["route"]))


FIXED_ROUTE = routing("fixed-route", _fixed, governing=Governing())


def fit_route(route: int, note: str = "") -> Fitting:
    """Fit `FIXED_ROUTE` to a route; negative ones count from the end."""

    def fit(world: SimConfig, _seed: int) -> Fit:
        n_routes = axis_sizes(world.layout)[-1]
        return Fit({"route": route % n_routes}, note=f"clocks by modelled stock governors{note}")

    return fit
