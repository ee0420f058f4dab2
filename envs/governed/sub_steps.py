"""Boards under a fixed action whose clocks their governors move every millisecond.

The device model is that of the simulator; what differs is that clocks change within a request. It
is the reference of `envs.governed.table`, and too slow to train in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.governed.governing import Governing
from hw.device.model import Demand, DeviceModel
from hw.governors.clocks import GovernedClocks

DT_S = 0.001
"""Sub-step of the reference."""
EVERY_CLOCK = Governing()
MOST_WAITING = 5.0
"""Requests in a queue, the one in work included; others are dropped, as in the simulator."""
SHORTEST_S = 1e-9
"""Keeps divisions finite."""
DONE = 1.0 - 1e-5
"""Progress that counts as all of a piece of work."""


@dataclass(frozen=True, slots=True)
class Cases:
    """What each of `n` boards does all the time; arrays of shape (n,).

    Attributes:
        caps_hz: upper limits of "cpu", "gpu" and "emc".
        work: of one request on the board.
        away_s: that each then waits for the cloud, during which the board is idle.
        rate_hz: of the requests.
        background_load: share of a core that other programs take.
    """

    caps_hz: Sequence[Floats]
    work: Demand
    away_s: Floats
    rate_hz: Floats
    background_load: Floats


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run came to, arrays of shape (n,).

    Attributes:
        latency_s: mean time from a request's arrival to its answer.
        edge_s: computing time of a request.
        rest_w: mean power but that of the requests.
        work_j: energy that a request adds to that.
        served_hz: requests answered.
        clocks_hz: mean clocks, shape (3, n).
    """

    latency_s: Floats
    edge_s: Floats
    rest_w: Floats
    work_j: Floats
    served_hz: Floats
    clocks_hz: Floats

    @property
    def power_w(self) -> Floats:
        """Mean power."""
        return self.rest_w + self.served_hz * self.work_j

    @property
    def energy_j(self) -> Floats:
        """Energy of the board per request."""
        return self.power_w / self.served_hz


class GovernedBoards:
    """Boards in sub-steps; one queue each, one request at a time.

    A request computes, then waits. While it computes, host, GPU and memory share the time as the
    device model says, at a granularity below a millisecond.
    """

    def __init__(
        self,
        device: DeviceModel,
        cases: Cases,
        *,
        governing: Governing | None = EVERY_CLOCK,
        dt_s: float = DT_S,
    ) -> None:
        """Begin at rest, all clocks at their caps.

        Args:
            device: model of all boards.
            cases: what they do.
            governing: what lowers the clocks; None where they stay pinned.
            dt_s: sub-step.
        """
        self._device, self._cases = device, cases
        n, kind = len(cases.rate_hz), cases.rate_hz.dtype
        domains = () if governing is None else governing.domains
        self._clocks = GovernedClocks(device, cases.caps_hz, domains)
        self._governing, self._dt_s = governing, dt_s
        zeros = np.zeros(n, dtype=kind)
        self._queue, self._progress, self._away_s = zeros, zeros, zeros
        self._work_s, self._work_w, self._rest_w, self._cpu_share, self._gpu_share = (zeros,) * 5
        self._hz_before: list[Floats] = []
        self.forget()

    def forget(self) -> None:
        """Begin to measure anew."""
        zeros = np.zeros_like(self._cases.rate_hz)
        self._busy_s, self._present_s, self._rest_j, self._busy_j = (zeros,) * 4
        self._n_computed, self._n_answered = zeros, zeros
        self._sum_hz = np.zeros((3, len(zeros)), dtype=zeros.dtype)
        self._time_s = 0.0

    def advance(self, arrivals: Floats) -> None:
        """One sub-step; `arrivals` requests join each queue at its beginning, shape (n,)."""
        self._queue = np.minimum(self._queue + arrivals, MOST_WAITING)
        self._look_up()
        self._present_s = self._present_s + self._queue * self._dt_s
        left_s = np.full_like(self._queue, self._dt_s)
        busy_s, left_s = self._compute(left_s)
        left_s = self._wait(left_s)
        more_s, left_s = self._compute(left_s)  # of the next request
        self._wait(left_s)
        busy = (busy_s + more_s) * (1.0 / self._dt_s)
        self._busy_s = self._busy_s + busy * self._dt_s
        self._rest_j = self._rest_j + self._rest_w * self._dt_s
        self._busy_j = self._busy_j + self._work_w * (busy * self._dt_s)
        self._sum_hz += self._dt_s * np.stack(self._clocks.hz)
        self._time_s += self._dt_s
        if self._governing is not None:
            background, gpu = self._cases.background_load, busy * self._gpu_share
            seen = busy if self._governing.host_spins else busy - gpu
            cpu = background + (1.0 - background) * seen
            self._clocks.advance(self._dt_s, self._cases.caps_hz, cpu, gpu)

    def measured(self) -> Measured:
        """What happened since `forget`."""
        computed = np.maximum(self._n_computed, SHORTEST_S)  # parts of requests count, too
        answered = np.maximum(self._n_answered, 1.0)
        return Measured(
            latency_s=self._present_s / answered,
            edge_s=self._busy_s / computed,
            rest_w=self._rest_j / self._time_s,
            work_j=self._busy_j / computed,
            served_hz=self._n_answered / self._time_s,
            clocks_hz=self._sum_hz / self._time_s,
        )

    def _look_up(self) -> None:
        """Times and powers at the clocks in force, where any has changed."""
        hz = self._clocks.hz
        if self._hz_before and all(a is b for a, b in zip(hz, self._hz_before, strict=True)):
            return
        self._hz_before = list(hz)
        power, work, free = self._device.power, self._cases.work, 1.0 - self._cases.background_load
        cpu_s, gpu_s = work.busy_s(*hz)
        core_w = power.cpu_load_w(hz[0])
        self._work_s = work.fixed_s + cpu_s / free + gpu_s
        each = 1.0 / np.maximum(self._work_s, SHORTEST_S)
        self._gpu_share = gpu_s * each
        self._work_w = (cpu_s * core_w + gpu_s * power.gpu_load_w(hz[1], hz[2])) * each
        self._rest_w = power.idle_w(*hz) + core_w * self._cases.background_load

    def _compute(self, left_s: Floats) -> tuple[Floats, Floats]:
        """Let whoever has a request compute; time it took of the sub-step, and what is left."""
        is_on = (self._queue >= 1.0) & (self._away_s <= 0.0)
        used_s = np.minimum((1.0 - self._progress) * self._work_s, left_s) * is_on
        done = used_s / np.maximum(self._work_s, SHORTEST_S)
        progress = self._progress + done
        is_done = is_on & ((progress >= DONE) | (self._work_s <= 0.0))
        self._progress = np.where(is_done, 0.0, progress)
        self._n_computed = self._n_computed + done
        self._away_s = np.where(is_done, self._cases.away_s, self._away_s)
        is_answered = is_done & (self._cases.away_s <= 0.0)
        self._answer(is_answered, left_s - used_s)
        return used_s, left_s - used_s

    def _wait(self, left_s: Floats) -> Floats:
        is_on = self._away_s > 0.0
        used_s = np.minimum(self._away_s, left_s) * is_on
        self._away_s = self._away_s - used_s
        is_answered = is_on & (self._away_s <= 1e-9)
        self._away_s = np.where(is_answered, 0.0, self._away_s)
        self._answer(is_answered, left_s - used_s)
        return np.asarray(left_s - used_s)

    def _answer(self, which: NDArray[np.bool_], left_s: Floats) -> None:
        """Answers leave the queue; they were counted as present to the end of the sub-step."""
        self._queue = self._queue - which
        self._n_answered = self._n_answered + which
        self._present_s = self._present_s - which * left_s


def run(
    device: DeviceModel,
    cases: Cases,
    arrivals_s: Sequence[float],
    *,
    warm_up_s: float,
    duration_s: float,
    governing: Governing | None = EVERY_CLOCK,
    dt_s: float = DT_S,
) -> Measured:
    """Run boards and measure them.

    Args:
        device: model of all boards.
        cases: what they do.
        arrivals_s: of requests in times of their mean distance, ascending, the same for all boards.
        warm_up_s: time before anything is measured; requests count on.
        duration_s: measured.
        governing: see `GovernedBoards`.
        dt_s: sub-step.
    """
    boards = GovernedBoards(device, cases, governing=governing, dt_s=dt_s)
    drawn = np.asarray(arrivals_s, dtype=np.float64)
    seen = np.zeros(len(cases.rate_hz))
    first = round(warm_up_s / dt_s)
    for step in range(first + round(duration_s / dt_s)):
        if step == first:
            boards.forget()
        come = np.searchsorted(drawn, cases.rate_hz * (step * dt_s)).astype(np.float64)
        boards.advance((come - seen).astype(cases.rate_hz.dtype))
        seen = come
    return boards.measured()
