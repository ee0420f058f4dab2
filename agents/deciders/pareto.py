"""Exact dominance on the nominal device: actions that are best in no state."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.deciders.nominal import Actions, NominalModel, every_action
from envs.arrays import Floats
from envs.plant import Indices


def useful_actions(known: NominalModel) -> Indices:
    """Actions that are, on their route, not beaten in head time, idle power and energy at once.

    Cost rises with each of the three whatever link, load and request rate are, so that the rest
    can only be best for its switching cost or when the board has to finish for the cloud. That is
    so where clocks are pinned; elsewhere all actions are kept.

    Returns:
        Shape (k, n_axes), ascending.
    """
    if known.governed is not None:  # below a cap the clocks are others'
        return every_action(known.layout)
    actions = Actions(known, every_action(known.layout))
    measured = criteria(known, actions)
    routes = actions.indices[:, -1]
    kept = [
        rows[undominated(measured[rows])]
        for rows in (np.flatnonzero(routes == route) for route in np.unique(routes))
    ]
    return actions.indices[np.sort(np.concatenate(kept))]


def criteria(known: NominalModel, actions: Actions) -> Floats:
    """Head time in s, idle power in W and energy above idle in J, shape (k, 3)."""
    clocks, costs = actions.clocks, actions.costs
    hz = (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
    cpu_s, gpu_s = costs.head.busy_s(*hz)
    idle_w = known.device.power.total_w(*hz, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0)
    # Power is linear in what is busy, so that one request a second shows the energy of a request.
    busy_w = known.device.power.total_w(
        *hz, cpu_util=cpu_s, gpu_util=gpu_s, traffic_bytes_per_s=costs.traffic_bytes
    )
    return np.stack([costs.head.fixed_s + cpu_s + gpu_s, idle_w, busy_w - idle_w], axis=1)


def undominated(columns: Floats) -> NDArray[np.intp]:
    """Rows that no other row beats or equals in every column (of equal rows the first stays)."""
    order = np.lexsort(columns.T[::-1])
    kept: list[int] = []
    for row in order:
        best = columns[kept]
        if not kept or not (best <= columns[row]).all(axis=1).any():
            kept.append(int(row))
    return np.array(kept)
