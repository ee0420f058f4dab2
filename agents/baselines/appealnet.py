"""AppealNet: the edge answers easy inputs, hard ones go to the cloud."""

from __future__ import annotations

import numpy as np

from agents.deciders.base import axis_sizes
from agents.deciders.governor import Routes, routings
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Fit, Parameters, RuleKind
from envs.plant import Readings
from envs.sim.sim_config import SimConfig

ASSUMED_SHARE = 0.2
"""Share of appeals where no table of the network holds one. The paper (DAC 2021) draws curves over
the whole range rather than naming a share; this one is assumed."""


class AppealNet:
    """AppealNet (Li et al., DAC 2021, arXiv 2105.04104), a router.

    Published: a two-headed edge network answers and predicts whether its answer is right; below
    a threshold the input appeals to the cloud's network. Neither link nor load nor clocks count.

    Chosen here: a plant serves all requests of a control step alike, so that steps appeal, evenly
    spread, as many as the share of appeals among requests needs; it is the one measured with the
    network's own early exit, if it has one. The edge answers by `edge_route`, appeals take
    `appeal_route`: edge-only and cloud-only. That flatters it twice: the edge's network is as good
    as the cloud's, and the energy of its try before an appeal is left out.
    """

    def __init__(self, edge_route: int, appeal_route: int, share: float) -> None:
        """Remember both routes and the share of appeals, 0..1."""
        self._edge, self._appeal, self._share = edge_route, appeal_route, share

    def begin(self, n: int) -> None:
        """Begin on the edge, with nothing owed to the cloud."""
        self._owed, self._appealed = np.zeros(n), np.zeros(n, dtype=np.bool_)
        self._has_begun = False

    def routes(self, readings: Readings) -> Routes:
        """Appeal while fewer requests than the share have."""
        if self._has_begun:
            self._owed += readings.arrival_hz * (self._share - self._appealed)
        self._appealed, self._has_begun = self._owed > 0.0, True
        return np.where(self._appealed, self._appeal, self._edge).astype(np.int64)


def _fit(_kind: RuleKind, world: SimConfig, _seed: int) -> Fit:
    measured = world.appeal_share
    share = ASSUMED_SHARE if measured is None else measured
    edge_route = axis_sizes(world.layout)[-1] - 1
    parameters = {"edge_route": edge_route, "appeal_route": 0, "share": share}
    note = f"{share:.0%} of the requests appeal, {'assumed' if measured is None else 'as measured'}"
    return Fit(parameters, note=note)


def _router(_known: NominalModel, p: Parameters) -> AppealNet:
    return AppealNet(int(p["edge_route"]), int(p["appeal_route"]), float(p["share"]))


APPEALNETS = routings("appealnet", _router, _fit)
