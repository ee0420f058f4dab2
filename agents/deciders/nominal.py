"""Public knowledge of a plant: the nominal device, the network's costs, and the objective."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.deciders.base import axis_sizes
from envs.arrays import Floats
from envs.governed.table import GovernedTable
from envs.objective import Objective
from envs.plant import Indices, Layout, Readings
from envs.sim.clocks import Clocks, clock_tables, grid_places
from envs.sim.sim_config import SimConfig
from envs.sim.split_costs import SplitCosts
from hw.device.model import DOMAINS, DeviceModel


@dataclass(frozen=True, kw_only=True, slots=True)
class NominalModel:
    """What a rule may know before it sees a board.

    Attributes:
        layout: axes of the actions, fields of the observations.
        device: the nominal model; the board at hand may differ from it.
        costs: of every route on it.
        objective: what is to be minimised.
        step_s: duration of a control step.
        governed: what governors that move the clocks come to; None where clocks are pinned.
        is_back_to_back: requests come as answers do.
        server_j: energy of the server for an answer of each route, shape (n_routes,), if it counts.
    """

    layout: Layout
    device: DeviceModel
    costs: SplitCosts
    objective: Objective
    step_s: float
    governed: GovernedTable | None = None
    is_back_to_back: bool = False
    server_j: Floats = field(default_factory=lambda: np.zeros(1))

    @classmethod
    def of(cls, world: SimConfig) -> NominalModel:
        """Leave out of a world what only an oracle may see."""
        believed = world.as_believed()
        return cls(
            layout=world.layout,
            device=believed.device,
            costs=believed.costs,
            objective=world.objective(),
            step_s=world.step_s,
            governed=world.governed,
            is_back_to_back=world.is_back_to_back,
            server_j=world.server_j,
        )


class Actions:
    """Actions with what each asks of device and link, in single precision for speed.

    Attributes:
        indices: shape (..., n_axes).
        clocks: that they ask for, arrays of shape (...).
        costs: of their routes, arrays of shape (...).
        places: in the grid of `GovernedTable`, shape (..., 4).
        server_j: energy of the server for an answer, arrays of shape (...).
    """

    def __init__(self, known: NominalModel, indices: Indices) -> None:
        """Look up clocks and costs of `indices`."""
        self.indices = indices
        self.places = grid_places(known.device, known.layout, indices)
        columns = {axis.name: k for k, axis in enumerate(known.layout.axes)}
        self.clocks = Clocks(
            *(
                single(table[indices[..., columns[name]] if name in columns else -1])
                for name, table in zip(DOMAINS, clock_tables(known.device), strict=True)
            )
        )
        self.costs = SplitCosts.from_rows(single(known.costs.rows())[:, indices[..., -1]])
        every_j = np.broadcast_to(known.server_j, known.costs.wire_bytes.shape)
        self.server_j = single(every_j[indices[..., -1]])


def single(values: Floats) -> Floats:
    """The same numbers in single precision."""
    return values.astype(np.float32)


def every_action(layout: Layout) -> Indices:
    """All combinations, shape (k, n_axes), in the order of `np.unravel_index`."""
    sizes = axis_sizes(layout)
    return np.indices(sizes, dtype=np.int64).reshape(len(sizes), -1).T


def read_clocks(known: NominalModel, readings: Readings) -> Clocks:
    """Clocks of n boards as read back; what cannot be set is taken to run at its top."""
    columns = {name: k for k, name in enumerate(known.layout.domains)}
    n = len(readings.clocks_hz)
    return Clocks(
        *(
            readings.clocks_hz[:, columns[name]] if name in columns else np.full(n, table[-1])
            for name, table in zip(DOMAINS, clock_tables(known.device), strict=True)
        )
    )


def faithful_routes(known: NominalModel) -> NDArray[np.int64]:
    """Routes that lose at most one point of accuracy against the whole network, ascending.

    Rules that know nothing of accuracy choose among these, all routes where it is unknown.
    """
    accuracy = known.costs.accuracy
    loses = accuracy < accuracy[-1] - 0.01  # never true of NaN
    return np.flatnonzero(~loses).astype(np.int64)
