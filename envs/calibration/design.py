"""What the samples of a board with a network are to tell, as quantities of a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from envs.arrays import Floats
from envs.calibration.fitting import power_form
from envs.calibration.fitting.drift import Drift
from envs.calibration.fitting.fit import BoardFit, Setting
from envs.calibration.fitting.latency_form import LatencyForm, Rows
from envs.calibration.fitting.power_form import FittedPower
from envs.calibration.plan import Plan, Quantity, extremes, places, relative_slopes
from envs.calibration.samples import NETWORK, Kind, Work
from hw.device.latency import HostScaling

SHARES_OF_LATENCY = {"fixed": 0.1, "cpu": 0.2, "gpu": 0.5, "emc": 0.4}
"""In the middle of all clocks, before anything is known of a board."""
SHARES_OF_POWER = {
    "board_w": 0.4,
    "cpu_idle_w_per_hz3": 0.05,
    "gpu_idle_w_per_hz3": 0.05,
    "soc_w_per_emc_hz": 0.1,
    "cpu_busy_w_per_hz3": 0.1,
    "cpu_busy_w_per_hz": 0.1,
    "gpu_busy_w": 0.1,
    "gpu_busy_w_per_hz": 0.3,
    "soc_j_per_byte": 0.1,
}
SHARE_OF_HOST = 0.1
"""Of the latency, by each of the two terms of what the processor does beside the network."""
LEAST_SHARE = 0.05
"""Of the usual value: what a parameter counts for that was found to be 0, as it may be more."""


def usual_latency(form: LatencyForm, rows: Rows) -> Floats:
    """Parameters of a latency of about 1 in the middle, each term with its usual share.

    Args:
        form: the latency form.
        rows: all that could be measured.
    """
    middle = {"fixed": 1.0, **{name: float(np.median(hz)) for name, hz in rows.hz.items()}}
    sizes = np.maximum(np.mean(rows.sizes, axis=0), 1e-12) * form.n_sizes
    parts = [SHARES_OF_LATENCY[name] * middle[name] / sizes for name in form.terms]
    return np.concatenate([*parts, [1.0] * form.is_norm_free])


def usual_board(setting: Setting, candidates: Work) -> BoardFit:
    """A board before anything is measured of it, in units of its latency and power."""
    network = candidates.take(candidates.is_of(*NETWORK))
    host = candidates.take(candidates.is_of(Kind.HOST))
    cycles = SHARE_OF_HOST * float(np.median(candidates.rows.cpu_hz))
    sent = max(float(np.mean(host.sent_bytes)) if len(host) else 0.0, 1.0)
    x = usual_latency(setting.latency_form, network.rows)
    scaling = HostScaling(cycles, cycles / sent)
    fit = BoardFit(setting, x, scaling, None, Drift.none(), Drift.none())
    ones = FittedPower(dict.fromkeys(setting.power_terms, 1.0), power_form.FLAT)
    columns = power_form.columns(fit.load(candidates), ones)
    typical = [np.median(column[column > 0.0]) if column.any() else 1.0 for column in columns.T]
    values = {
        name: SHARES_OF_POWER[name] / float(value)
        for name, value in zip(setting.power_terms, typical, strict=True)
    }
    return replace(fit, power=FittedPower(values, power_form.FLAT))


@dataclass(frozen=True, slots=True)
class Design:
    """Everything that could be measured, and what it would tell.

    Attributes:
        candidates: pieces at clocks.
        costs: time that measuring each takes, shape (n,), s.
        has_power: whether power is measured, too.
    """

    candidates: Work
    costs: Floats
    has_power: bool = True

    def plan(self, board: BoardFit) -> Plan:
        """An empty plan.

        Args:
            board: what is known or believed of the board.
        """
        done, points = self.candidates, self._points()
        known = _nowhere_zero(board, usual_board(board.setting, done), done)
        is_latency = done.is_of(*NETWORK, Kind.HOST)
        quantities = [Quantity(_latency_slopes(known, done), points, done.kind, is_latency)]
        if self.has_power and known.power is not None:
            columns = power_form.columns(known.load(done), known.power)
            values = np.array(list(known.power.values.values()))
            slopes = relative_slopes(columns, values, columns @ values)
            every = np.ones(len(done), dtype=np.bool_)
            quantities.append(Quantity(slopes, points, done.kind, every))
        return Plan(quantities, self.costs)

    def extremes(self, kind: Kind) -> list[int]:
        """The largest piece of a kind with all clocks at their highest, and at their lowest."""
        chosen = np.flatnonzero(self.candidates.is_of(kind))
        if not len(chosen):
            return []
        done = self.candidates.take(chosen)
        largest = np.argmax(done.rows.sizes[:, 1] + done.sent_bytes)
        is_largest = (done.rows.sizes == done.rows.sizes[largest]).all(axis=1)
        of_it = chosen[is_largest & (done.sent_bytes == done.sent_bytes[largest])]
        points = places(list(self.candidates.take(of_it).rows.hz.values()))
        return [int(of_it[index]) for index in extremes(points)]

    def next(self, board: BoardFit, measured: Sequence[int], n: int = 3) -> list[int]:
        """Candidates that would tell most after others, the best first.

        Args:
            board: as fitted.
            measured: candidates that were measured, repeats included.
            n: how many.
        """
        plan = self.plan(board)
        for index in measured:
            plan.add(index)
        while len(plan.chosen) < len(measured) + n:
            plan.add(plan.best(is_new=True))
        return plan.chosen[len(measured) :]

    def _points(self) -> Floats:
        rows = self.candidates.rows
        size = np.where(
            self.candidates.is_of(Kind.HOST), self.candidates.sent_bytes, rows.sizes[:, 1]
        )
        span = np.ones(len(size))
        for kind in Kind:
            of_kind = self.candidates.is_of(kind)
            span[of_kind] = max(float(size[of_kind].max(initial=0.0)), 1.0)
        depth = 2.0 * size / span - 1.0
        return np.concatenate([places(list(rows.hz.values())), depth[:, None]], axis=1)


def _latency_slopes(board: BoardFit, done: Work) -> Floats:
    """Of network and of host work, side by side: neither tells anything of the other."""
    form, latency_s = board.setting.latency_form, np.maximum(board.latency_s(done), 1e-300)
    network = form.jacobian(board.latency, done.rows) * done.is_of(*NETWORK)[:, None]
    per_hz = done.is_of(Kind.HOST) / done.rows.cpu_hz
    host = np.stack([per_hz, per_hz * done.sent_bytes], axis=1)
    x = [*board.latency, board.host.cpu_cycles_per_request, board.host.cpu_cycles_per_byte]
    return relative_slopes(np.concatenate([network, host], axis=1), np.array(x), latency_s)


def _nowhere_zero(board: BoardFit, usual: BoardFit, done: Work) -> BoardFit:
    """A board with what was found to be 0 at a small share of the usual."""
    is_timed = done.is_of(*NETWORK, Kind.HOST)
    slower = np.median(board.latency_s(done)[is_timed] / usual.latency_s(done)[is_timed])
    least = LEAST_SHARE * float(slower)
    host = HostScaling(
        max(board.host.cpu_cycles_per_request, least * usual.host.cpu_cycles_per_request),
        max(board.host.cpu_cycles_per_byte, least * usual.host.cpu_cycles_per_byte),
    )
    latency = np.maximum(board.latency, least * usual.latency)
    if board.power is None or usual.power is None:
        return replace(board, latency=latency, host=host)
    watt = LEAST_SHARE * float(np.median(board.power_w(done) / usual.power_w(done)))
    values = {
        name: max(value, watt * usual.power.values[name])
        for name, value in board.power.values.items()
    }
    return replace(board, latency=latency, host=host, power=replace(board.power, values=values))
