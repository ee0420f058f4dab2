"""Dynamic split computing: the fastest natural bottleneck under the present link."""

from __future__ import annotations

from agents.baselines.cut_times import CutTimes
from agents.deciders.governor import Routes, routings
from agents.deciders.nominal import NominalModel, faithful_routes
from agents.deciders.rule import Fit
from envs.plant import Readings


class DynamicSplitting:
    """Dynamic split computing (Bakhtiarnia et al., 2022, arXiv 2205.11269), a router.

    Published: only natural bottlenecks are cut, where the tensor is smaller than the input; the
    least sum of head, transfer and tail among them, edge-only and full offload is taken. Batch
    size stands for server load, clocks are not controlled.

    Chosen here: smaller is counted in bytes on the wire, for features and input alike; the load
    that the server reports divides its speed; only routes that lose at most a point of accuracy
    are compared.
    """

    def __init__(self, known: NominalModel) -> None:
        """Profile the network and find its bottlenecks."""
        self._times = CutTimes(known)
        routes = faithful_routes(known)
        sent = self._times.wire_bytes
        self._allowed = routes[(sent[routes] < sent[0]) | (routes == 0)]

    def begin(self, n: int) -> None:
        """Nothing is remembered between steps."""

    def routes(self, readings: Readings) -> Routes:
        """Compare the bottlenecks, full offload and edge-only."""
        chosen: Routes = self._allowed[
            self._times.total_s(readings)[:, self._allowed].argmin(axis=1)
        ]
        return chosen


DYNAMIC_SPLITS = routings(
    "dynamic-split",
    lambda known, _p: DynamicSplitting(known),
    lambda _kind, _world, _seed: Fit({}),
)
