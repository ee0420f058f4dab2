"""How well a table stands for the sub-steps, on cases that are not in its grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from envs.arrays import Floats
from envs.governed.sub_steps import Cases, run
from envs.governed.table import GovernedFactors, GovernedTable, drawn_arrivals, pinned, routes_of
from envs.plant import Indices
from hw.device.model import Demand, DeviceModel

SLOWEST_HZ, FASTEST_HZ = 2.0, 15.0
"""Rates of requests in the scenarios that come with the package."""
SECONDS = 40.0
WARM_UP_S = 4.0


@dataclass(frozen=True, slots=True)
class TableErrors:
    """Relative errors of the table against sub-steps, arrays of shape (n,).

    Attributes:
        places: of the cases, shape (n, 4).
        rate_hz: of their requests.
        time: of the computing time of a request.
        energy: of the board's energy per request.
        clocked_s: computing time itself, in sub-steps.
    """

    places: Indices
    rate_hz: Floats
    time: Floats
    energy: Floats
    clocked_s: Floats


def table_errors(
    device: DeviceModel,
    head: Demand,
    table: GovernedTable,
    n: int,
    *,
    scv: float,
    load: float,
    seconds: float = SECONDS,
) -> TableErrors:
    """Compare on random caps, routes and rates.

    Args:
        device: of the boards.
        head: work of each route.
        table: of these.
        n: cases.
        scv: 0 for requests that come evenly, 1 at random.
        load: share of a core that other programs take.
        seconds: that are measured.
    """
    generator = np.random.default_rng([0xE4404, int(scv), round(100 * load)])
    sizes = table.rows.shape[2:]
    works = [r for r in range(sizes[-1]) if np.asarray(head.cpu_cycles)[r] > 0.0]
    places = generator.integers(0, sizes, (n, len(sizes)))
    places[:, -1] = generator.choice(works, n)
    rate_hz = np.exp(generator.uniform(np.log(SLOWEST_HZ), np.log(FASTEST_HZ), n))
    grids = (device.cpu_hz, device.gpu_hz, device.emc_hz)
    caps_hz = [grid[places[:, k]] for k, grid in enumerate(grids)]
    work = routes_of(head, places[:, -1], np.dtype(np.float64))
    cases = Cases(caps_hz, work, np.zeros(n), rate_hz, np.full(n, load))
    n_drawn = round((seconds + WARM_UP_S) * FASTEST_HZ) + 2
    arrivals_s = drawn_arrivals(n_drawn, 1, is_random=scv > 0.0)
    found = run(device, cases, arrivals_s, warm_up_s=WARM_UP_S, duration_s=seconds)
    looked_up = table.looked_up(places, rate_hz, np.full(n, scv), cases.background_load)
    edge_s, energy_j = _expected(device, cases, looked_up, found.served_hz)
    return TableErrors(
        places, rate_hz, edge_s / found.edge_s - 1.0, energy_j / found.energy_j - 1.0, found.edge_s
    )


def _expected(
    device: DeviceModel, cases: Cases, factors: GovernedFactors, served_hz: Floats
) -> tuple[Floats, Floats]:
    """Computing time and energy of a request as a simulator has them."""
    clocked_s, rest_w, work_j = pinned(device, cases)
    edge_s = cases.work.fixed_s + clocked_s * factors.head
    work_j = work_j * factors.head * factors.work
    return edge_s, rest_w * factors.rest / served_hz + work_j
