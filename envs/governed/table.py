"""What moving clocks come to, tabulated over caps, routes, rates and kinds of requests.

A simulator that trains cannot run sub-steps. It takes three factors instead, by which a board below
caps differs from one that is pinned to them, looked up by rate, irregularity and background load.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.governed.governing import Governing
from envs.governed.sub_steps import EVERY_CLOCK, Cases, Measured, run
from envs.plant import Indices
from envs.scenarios.operating_conditions import OperatingConditions
from hw.device.model import DOMAINS, Demand, DeviceModel
from hw.device.units import Values

Singles = NDArray[np.float32]
DT_S = 0.0025
"""Sub-step of the table; the governors' periods are multiples of it."""
EVEN_HZ = tuple(float(hz) for hz in np.geomspace(1.5, 32.0, 14).round(3))
"""Rates of requests that come evenly."""
RANDOM_HZ = tuple(float(hz) for hz in np.geomspace(1.5, 32.0, 8).round(3))
"""Rates of requests that come at random, where the clocks follow the rate more smoothly."""
LOADED_HZ = tuple(float(hz) for hz in np.geomspace(1.5, 32.0, 5).round(3))
"""The same on boards with other work."""
LOADED_SHARE = 0.5
"""Share of a core that other programs take there; between and beyond, the factors are linear."""
LEAST_HZ = 1e-6
"""Keeps logarithms finite; below the lowest rate the factors stay."""
LARGEST_LOAD = 0.8
"""Beyond this they stay."""
EVEN_JITTER = 0.1
"""Share of their distance by which even requests scatter: they keep no step with a governor's."""
SHORTEST_S, N_EVEN, N_RANDOM = 2.0, 16, 96
"""Shortest measured time, and requests at least."""
WARM_UP_S, N_WARM_UP = 1.5, 4
FIELDS = ("stretch", "rest", "work")


class GovernedFactors(NamedTuple):
    """Of boards below caps over boards pinned to them; arrays that broadcast over actions.

    Attributes:
        head: time of the work before anything is sent, but for what no clock changes.
        tail: of what is left of a request that has to be finished on the board.
        rest: power of a board without its requests.
        work: power of the busy units while they work on a request.
    """

    head: Floats
    tail: Floats
    rest: Floats
    work: Floats


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows of one kind of requests."""

    rates_hz: tuple[float, ...]
    is_random: bool
    background_load: float


GROUPS = (
    _Group(EVEN_HZ, is_random=False, background_load=0.0),
    _Group(RANDOM_HZ, is_random=True, background_load=0.0),
    _Group(LOADED_HZ, is_random=True, background_load=LOADED_SHARE),
)
N_ROWS = sum(len(group.rates_hz) for group in GROUPS)
FEW = 200
"""Actions; of so few all rates run side by side, as long as the lowest needs: a sub-step takes as
long for a thousand boards as for one."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What the boards of a row meet."""

    index: int
    rate_hz: float
    is_random: bool
    background_load: float


def _batches(n_actions: int) -> list[list[_Row]]:
    """Rows that run side by side, whose requests come alike."""
    pairs = [(group, rate_hz) for group in GROUPS for rate_hz in group.rates_hz]
    rows = [
        _Row(index, rate_hz, group.is_random, group.background_load)
        for index, (group, rate_hz) in enumerate(pairs)
    ]
    if n_actions > FEW:
        return [[row] for row in rows]
    return [[row for row in rows if row.is_random is kind] for kind in (False, True)]


@dataclass(frozen=True, slots=True)
class GovernedTable:
    """Factors of a device and a network.

    Attributes:
        rows: natural logarithms of `FIELDS`, shape (N_ROWS, 3, n_cpu, n_gpu, n_emc, n_routes).
        made_of: hash of the device and the network's work.
    """

    rows: NDArray[np.float32]
    made_of: str

    def factors(self, places: Indices | None, now: OperatingConditions) -> GovernedFactors:
        """Factors under the operating conditions of n boards.

        Args:
            places: in the grid, shape (k, 4) if the same actions are looked at of all boards,
                (n, 4) or (n, k, 4) if each has its own; None for all of the grid.
            now: arrays of shape (n,), or with axes of length 1 behind it for those of the actions.

        Returns:
            Arrays that broadcast as the conditions do with the actions.
        """
        # More work of each request moves the clocks as more requests do.
        scale = now.slowdown if now.build is None else now.slowdown * now.build.work
        rate_hz = now.arrival_hz * scale
        around = np.broadcast_arrays(
            *(v.reshape(-1) for v in (rate_hz, now.arrival_scv, now.background_load))
        )
        if places is None:
            return self._everywhere(*_weights(*around))
        if places.ndim == 2 and rate_hz.ndim == 2:
            return self._shared(places, *_weights(*around))
        return self.looked_up(places, *around)

    def looked_up(
        self, places: Indices, rate_hz: Floats, scv: Floats, load: Floats
    ) -> GovernedFactors:
        """Factors of each board's own actions.

        Args:
            places: in the grid, shape (n, 4) or (n, k, 4).
            rate_hz: of requests as long as the nominal ones, shape (n,).
            scv: squared coefficient of variation of the time between them.
            load: share of a core that other programs take.
        """
        return self._single(places, *_weights(rate_hz, scv, load))

    def _everywhere(self, indices: Indices, weights: Singles) -> GovernedFactors:
        flat = self.rows.reshape(N_ROWS, -1)
        found = np.empty((len(indices), flat.shape[1]), dtype=np.float32)
        for k, (rows, shares) in enumerate(zip(indices, weights, strict=True)):
            used = shares != 0.0
            np.dot(shares[used], flat[rows[used]], out=found[k])
        np.exp(found, out=found)
        shape = (len(indices), *self.rows.shape[1:])
        stretch, rest, work = np.moveaxis(found.reshape(shape), 1, 0)
        return GovernedFactors(stretch, stretch[..., -1:], rest, work)

    def _shared(self, places: Indices, indices: Indices, weights: Singles) -> GovernedFactors:
        here, whole = self._flat(places)
        flat = self.rows.reshape(N_ROWS, len(FIELDS), -1)
        dense = np.zeros((len(indices), N_ROWS), dtype=np.float32)
        for k in range(indices.shape[1]):
            dense[np.arange(len(indices)), indices[:, k]] += weights[:, k]
        found = np.exp(np.tensordot(dense, flat[:, :, here], 1))
        tail = np.exp(dense @ flat[:, 0, whole])
        return GovernedFactors(found[:, 0], tail, found[:, 1], found[:, 2])

    def _single(self, places: Indices, indices: Indices, weights: Singles) -> GovernedFactors:
        here, whole = self._flat(places)
        flat = self.rows.reshape(N_ROWS, len(FIELDS), -1)
        wide = (-1, *(1,) * (here.ndim - 1))

        def look_up(field: int, at: Indices) -> Floats:
            total = sum(
                weights[:, k].reshape(wide) * flat[indices[:, k].reshape(wide), field, at]
                for k in range(indices.shape[1])
            )
            return np.asarray(np.exp(total))

        return GovernedFactors(
            look_up(0, here), look_up(0, whole), look_up(1, here), look_up(2, here)
        )

    def _flat(self, places: Indices) -> tuple[Indices, Indices]:
        """Flat places of actions, and of the whole network at the same clocks."""
        sizes = self.rows.shape[2:]
        places = np.minimum(places, np.array(sizes) - 1)  # one cap alone of clocks that are left
        whole = places.copy()
        whole[..., -1] = sizes[-1] - 1
        here, there = (
            np.ravel_multi_index(tuple(np.moveaxis(p, -1, 0)), sizes) for p in (places, whole)
        )
        return np.asarray(here), np.asarray(there)

    @classmethod
    def make(
        cls,
        device: DeviceModel,
        head: Demand,
        governing: Governing = EVERY_CLOCK,
        *,
        capped: bool = True,
    ) -> GovernedTable:
        """Run every action in sub-steps.

        Args:
            device: of the boards.
            head: work of each route, arrays of shape (n_routes,); the last is the whole network's.
            governing: which clocks governors move, and how.
            capped: whether actions cap those; else they are left alone, below their highest.
        """
        device = governing.device(device)
        points_hz = dict(zip(DOMAINS, (device.cpu_hz, device.gpu_hz, device.emc_hz), strict=True))
        tables = [
            table.astype(np.float32)[0 if capped or name not in governing.domains else -1 :]
            for name, table in points_hz.items()
        ]
        n_routes = len(np.asarray(head.cpu_cycles))
        grids = np.meshgrid(*tables, np.arange(n_routes), indexing="ij")
        *caps_hz, route = (np.asarray(grid.reshape(-1)) for grid in grids)
        rows = np.empty((N_ROWS, len(FIELDS), *grids[0].shape), dtype=np.float32)
        for batch in _batches(grids[0].size):
            n = len(batch)
            cases = Cases(
                [np.tile(cap_hz, n) for cap_hz in caps_hz],
                routes_of(head, np.tile(route, n), np.dtype(np.float32)),
                away_s=np.zeros(n * grids[0].size, dtype=np.float32),
                rate_hz=_repeated([row.rate_hz for row in batch], grids[0].size),
                background_load=_repeated([row.background_load for row in batch], grids[0].size),
            )
            found = measured(device, cases, is_random=batch[0].is_random, governing=governing)
            of_rates = factors(device, cases, found).reshape(len(FIELDS), n, *grids[0].shape)
            for row, values in zip(batch, of_rates.swapaxes(0, 1), strict=True):
                rows[row.index] = _without_idle(values)
        return cls(np.log(rows), made_of(device, head))


def made_of(device: DeviceModel, head: Demand) -> str:
    """Hash of everything that a table depends on, 16 hexadecimal digits."""
    parts = (head.fixed_s, head.cpu_cycles, head.gpu_cycles, head.emc_cycles)
    work = [np.asarray(part, dtype=np.float64).tolist() for part in parts]
    domains = sorted((d.name, d.available_hz) for d in device.domains.values())
    content = (domains, device.power, device.governors, work, GROUPS, DT_S, N_EVEN, N_RANDOM)
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def _repeated(values: Sequence[float], n: int) -> Floats:
    """Each value `n` times, in single precision."""
    each: Floats = np.repeat(values, n)
    return each.astype(np.float32)


def routes_of(head: Demand, routes: Indices, kind: np.dtype[Any]) -> Demand:
    """Work of some routes as arrays of a type."""

    def column(part: Values) -> Floats:
        return np.asarray(np.asarray(part, dtype=kind)[routes])

    return Demand(
        fixed_s=column(head.fixed_s),
        cpu_cycles=column(head.cpu_cycles),
        gpu_cycles=column(head.gpu_cycles),
        emc_cycles=column(head.emc_cycles),
        overlap_norm=head.overlap_norm,
    )


def drawn_arrivals(n: int, seed: int, *, is_random: bool) -> list[float]:
    """Times of requests in times of their mean distance: even with a jitter, or at random.

    Random ones have the quantiles of an exponential distribution as distances, in random order.
    """
    generator = np.random.default_rng([0x607E, seed])
    if not is_random:
        times = np.arange(n) + generator.uniform(-EVEN_JITTER, EVEN_JITTER, n)
        return [float(t) for t in times + EVEN_JITTER]
    gaps = -np.log1p(-(generator.permutation(n) + 0.5) / n)
    return [float(t) for t in np.cumsum(gaps * (n / gaps.sum()))]


def measured(
    device: DeviceModel, cases: Cases, *, is_random: bool, governing: Governing = EVERY_CLOCK
) -> Measured:
    """What governed boards come to by the sub-steps of a table, as long as the slowest need."""
    rate_hz, fastest_hz = float(cases.rate_hz.min()), float(cases.rate_hz.max())
    n_requests = N_RANDOM if is_random else N_EVEN
    warm_up_s = max(WARM_UP_S, N_WARM_UP / rate_hz)
    duration_s = n_requests / rate_hz if is_random else max(SHORTEST_S, n_requests / rate_hz)
    n_drawn = math.ceil((warm_up_s + duration_s) * fastest_hz) + 2
    arrivals_s = drawn_arrivals(n_drawn, 0, is_random=is_random)
    return run(
        device,
        cases,
        arrivals_s,
        warm_up_s=warm_up_s,
        duration_s=duration_s,
        governing=governing,
        dt_s=DT_S,
    )


def pinned(device: DeviceModel, cases: Cases) -> tuple[Floats, Floats, Floats]:
    """Of boards pinned to their caps: clocked time of a request, power at rest, its energy."""
    free = 1.0 - cases.background_load
    cpu_s, gpu_s = cases.work.busy_s(*cases.caps_hz)
    core_w = device.power.cpu_load_w(cases.caps_hz[0])
    rest_w = device.power.idle_w(*cases.caps_hz) + core_w * cases.background_load
    work_j = cpu_s * core_w + gpu_s * device.power.gpu_load_w(*cases.caps_hz[1:])
    return cpu_s / free + gpu_s, rest_w, work_j


def factors(device: DeviceModel, cases: Cases, found: Measured) -> Floats:
    """`FIELDS` of a run, shape (3, n); ones where a request takes no work."""
    clocked_s, rest_w, work_j = pinned(device, cases)
    is_work = (clocked_s > 0.0) & (work_j > 0.0)
    safe_s, safe_j = np.where(is_work, clocked_s, 1.0), np.where(is_work, work_j, 1.0)
    stretch = np.where(is_work, (found.edge_s - cases.work.fixed_s) / safe_s, 1.0)
    work = np.where(is_work, found.work_j / safe_j / stretch, 1.0)
    return np.stack([stretch, found.rest_w / rest_w, work])


def _without_idle(row: Floats) -> Floats:
    """A route that takes no work of the board takes the whole network's, should it have to."""
    for route in range(row.shape[-1]):
        if (row[0, ..., route] == 1.0).all():
            row[::2, ..., route] = row[::2, ..., -1]
    return row


def _weights(rate_hz: Floats, scv: Floats, load: Floats) -> tuple[Indices, Singles]:
    """Two rows of each group and their weights, shapes (n, 6); all arguments of shape (n,)."""
    random = np.clip(scv, 0.0, 1.0)
    loaded = np.minimum(load, LARGEST_LOAD) / LOADED_SHARE
    shares = (1.0 - random, random - loaded, loaded)
    indices, weights, first = [], [], 0
    for group, share in zip(GROUPS, shares, strict=True):
        places = np.interp(
            np.log(np.maximum(rate_hz, LEAST_HZ)),
            np.log(group.rates_hz),
            np.arange(len(group.rates_hz), dtype=float),
        )
        low = np.minimum(places.astype(np.int64), len(group.rates_hz) - 2)
        over = places - low
        indices += [first + low, first + low + 1]
        weights += [share * (1.0 - over), share * over]
        first += len(group.rates_hz)
    return np.stack(indices, axis=1), np.stack(weights, axis=1).astype(np.float32)
