"""One cell of the map: a board, a network, a rate and a kind of input, at rest."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.live.course import Course
from benchmarks.splitting.inputs import with_input
from envs.arrays import Floats
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.effects import EFFECTS
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from partition.model.network_costs import NetworkCosts

RATES_MBPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
RTT_MS, SERVER_GFLOP_PER_S = 10.0, 150.0
"""The server is one x86 core, as in the scenarios."""
BUSY, MOST_HZ = 0.4, 10.0
"""Requests come so often that the board alone would be busy for this share at its highest clocks,
ten times a second at most."""
SLACK, LEAST_TARGET_S = 2.0, 0.05
"""Latency target over the time that the board alone takes at its highest clocks, and at least."""
MOSTLY = 0.5
"""Share of requests from which on what was meant for the cloud is finished on the board: a link so
weak that nothing is sent at all, which a board with pinned clocks answers by raising them."""


@dataclass(frozen=True, slots=True)
class MapCell:
    """The optimum of one cell, and what it loses.

    Attributes:
        where: "cloud", "inside" or "board".
        cost: of the best action.
        without_inside: cost where only the ends of the network may be cut over that, less 1; 0
            where the best one sends nothing from inside.
        costs: of all actions, shape of the layout's axes.
        domains: clocks that are axes.
    """

    where: str
    cost: float
    without_inside: float
    costs: Floats
    domains: tuple[str, ...]


def worlds(device: str, network: NetworkCosts) -> dict[float, SimConfig]:
    """A board at rest under each rate, by rate in Mbit/s."""
    alone_s = _alone_s(build_sim_config(device, network, ["steady-wifi"]))
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for rate_mbps in RATES_MBPS:
            course = Course(
                f"{rate_mbps:g} Mbit per s",
                (rate_mbps,),
                RTT_MS,
                min(MOST_HZ, BUSY / alone_s),
                target_ms=1e3 * max(SLACK * alone_s, LEAST_TARGET_S),
            )
            path = course.scenario(Path(folder), SERVER_GFLOP_PER_S)
            found[rate_mbps] = build_sim_config(
                device, network, [str(path)], without=EFFECTS, n_steps=4
            )
    return found


def cell(world: SimConfig, kind: str, pixels: int | None) -> MapCell:
    """Weigh every action in a world at rest."""
    world = with_input(world, kind, pixels)
    fleet = BatchedSimulator(world, 1)
    fleet.reset(np.zeros(1, dtype=np.uint64))
    outcome = fleet.every_outcome(slice(0, 1))
    outcome = replace(outcome, switched=np.zeros_like(outcome.switched))
    eta = fleet.eta().reshape(-1, *(1 for _ in fleet.layout.axes))
    costs = world.objective().cost(outcome, eta)[0]
    routes = costs.reshape(-1, costs.shape[-1]).min(axis=0)
    best, last = int(routes.argmin()), len(routes) - 1
    fell_back = np.broadcast_to(outcome.fell_back[0], costs.shape).flat[int(costs.argmin())]
    where = "cloud" if best == 0 else "board" if best == last else "inside"
    where = "board" if fell_back > MOSTLY else where
    ends = float(min(routes[0], routes[last]))
    return MapCell(
        where=where,
        cost=float(routes[best]),
        without_inside=ends / float(routes[best]) - 1.0 if where == "inside" else 0.0,
        costs=costs,
        domains=fleet.layout.domains,
    )


def lost_without(cells: list[MapCell], axis: int) -> float:
    """What the best single place of an axis costs over all cells above the best of each, a share.

    The mean of the ratios; a board that cannot move the axis keeps it at that place for all rates.
    """
    best = np.array([each.cost for each in cells])
    fixed = np.stack([_at_each_place(each.costs, axis) for each in cells])
    return float((fixed / best[:, None]).mean(axis=0).min() - 1.0)


def _at_each_place(costs: Floats, axis: int) -> Floats:
    """The least cost at each place of an axis."""
    moved = np.moveaxis(costs, axis, 0)
    least: Floats = moved.reshape(len(moved), -1).min(axis=1)
    return least


def _alone_s(world: SimConfig) -> float:
    """Time of the whole network on the board at its highest clocks."""
    device = world.device
    whole = SplitCosts.from_rows(world.costs.rows()[:, -1]).head
    return float(device.latency_s(whole, device.cpu_hz[-1], device.gpu_hz[-1], device.emc_hz[-1]))
