"""The emulated board, calibrated in virtual time and held against its noiseless truth."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from envs.arrays import Floats
from envs.calibration.bench import Bench
from envs.calibration.campaign import Campaign
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting
from envs.calibration.record import Header, Record
from envs.calibration.samples import Kind, Piece, Work, work
from hw.boards.emulated import EmulatedBoard
from hw.emulated.machine import CLOCKS, HOST, NETWORK
from hw.emulated.power import Activity, PowerTable
from tests.envs.calibration.invented import OPTIONS
from tests.envs.calibration.virtual import VirtualRunner, seconds_at_top
from tests.hw.fake.clock import FakeClock

RATES_BPS = (50e6, 5e6, 0.5e6)
RTT_S, SERVER_FLOPS_PER_S, REQUEST_HZ, ETA = 0.004, 150e9, 10.0, 0.8
"""Of the scenario steady-wifi."""
MINUTES = 4.0

LARGEST_W = max(PowerTable.shipped().points_w.values())
ACTIVITIES = {Kind.IDLE: Activity.IDLE, Kind.HOST: Activity.HOST}

Pair = tuple[Piece, dict[str, int]]
Answer = tuple[Floats, Floats]
"""Latency of one run and mean power while a piece runs again and again."""


@dataclass(frozen=True, slots=True)
class Fit:
    """One calibration of one machine.

    Attributes:
        seed: of the machine and of the plan.
        n_samples: that were taken.
        latency_mean: held-out error.
        latency_largest: the same.
        energy_held_out: mean held-out error, beside the sensor's gain.
        energy_mean: error of one run's energy against the truth, over all pieces and clocks.
        energy_largest: the same.
        covered: share of them within the 95 % interval.
        regrets: by link rate, what the best action by the fit costs above the best one in truth.
    """

    seed: int
    n_samples: int
    latency_mean: float
    latency_largest: float
    energy_held_out: float
    energy_mean: float
    energy_largest: float
    covered: float
    regrets: tuple[float, ...]

    @property
    def row(self) -> dict[str, Any]:
        """For a file."""
        return asdict(self)


def calibrated(seed: int) -> Fit:
    """Calibrate one machine, in some seconds.

    Args:
        seed: of the machine's drift, gain and noise, and of the plan.
    """
    clock, busy = FakeClock(), FakeClock()
    setting, kinds = Setting(("cpu", "gpu"), "gpu"), frozenset(Kind)
    board = EmulatedBoard(clock=clock, sleep=clock.sleep, busy_clock=busy, seed=seed)
    with board, tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            board, VirtualRunner(board, clock, busy, seed), clock=clock, sleep=clock.sleep
        )
        header = Header("emulated", "invented", "none", seed)
        record = Record(Path(folder) / "samples.jsonl", header)
        campaign = Campaign(bench, OPTIONS, kinds, setting, record, minutes=MINUTES, seed=seed)
        campaign.run()
        (rail,) = board.power_sensors.values()
        gain = float(getattr(rail, "gain_error", 0.0))
    measured = Measured.of(record.samples, OPTIONS)
    confidence = Confidence.of(measured, setting, sensor_gain=gain, n_refits=20, seed=seed)
    pairs = _every_piece()
    true_s, true_w = truth(pairs)
    truth_j, done = true_s * true_w, _work(pairs)
    low_j, high_j = confidence.energy_interval_j(done)
    errors = np.abs(confidence.fit.energy_j(done) / truth_j - 1.0)
    fit = confidence.fit

    def answers(asked: Sequence[Pair]) -> Answer:
        return fit.latency_s(_work(asked)), fit.power_w(_work(asked))

    assert confidence.energy is not None
    return Fit(
        seed=seed,
        n_samples=len(record.samples),
        latency_mean=confidence.latency.mean,
        latency_largest=confidence.latency.largest,
        energy_held_out=confidence.energy.mean,
        energy_mean=float(errors.mean()),
        energy_largest=float(errors.max()),
        covered=float(np.mean((low_j <= truth_j) & (truth_j <= high_j))),
        regrets=tuple(_regret(rate_bps, answers) for rate_bps in RATES_BPS),
    )


def _work(pairs: Sequence[Pair]) -> Work:
    return work([piece for piece, _ in pairs], [point for _, point in pairs], OPTIONS)


def truth(pairs: Sequence[Pair]) -> Answer:
    """Latency without noise; power without drift, noise and gain."""
    table = PowerTable.shipped()
    slower = {name: clock.available_hz[-1] for name, clock in CLOCKS.items()}
    latency_s, power_w = [], []
    for piece, point in pairs:
        domain = HOST if piece.kind is Kind.HOST else NETWORK
        latency_s.append(seconds_at_top(piece) * slower[domain] / point[domain])
        activity = ACTIVITIES.get(piece.kind, Activity.NETWORK)
        power_w.append(table.power_w(point[HOST], point[NETWORK], activity))
    return np.array(latency_s), np.array(power_w)


def _points() -> list[dict[str, int]]:
    tables = (table.available_hz for table in CLOCKS.values())
    return [dict(zip(CLOCKS, hz, strict=True)) for hz in product(*tables)]


def _every_piece() -> list[Pair]:
    """All heads, tails and host work that take any time, at all clocks."""
    found = [Piece(Kind.HOST, route) for route in range(len(OPTIONS))]
    found += [Piece(Kind.HEAD, i) for i, option in enumerate(OPTIONS) if option.edge.flops]
    found += [Piece(Kind.TAIL, i) for i, option in enumerate(OPTIONS) if option.fallback.flops]
    return list(product(found, _points()))


def _regret(rate_bps: float, answers: Callable[[Sequence[Pair]], Answer]) -> float:
    """What the best route and clocks by a model cost above the best in truth, as a share."""
    believed, true = (_costs(rate_bps, known) for known in (answers, truth))
    return float(true[int(np.argmin(believed))] / true.min() - 1.0)


def _costs(rate_bps: float, answers: Callable[[Sequence[Pair]], Answer]) -> Floats:
    """Cost of a request by route and clocks: energy and time, weighed as the objective does."""
    actions = list(product(range(len(OPTIONS)), _points()))
    of = {
        kind: answers([(Piece(kind, route), point) for route, point in actions])
        for kind in (Kind.HEAD, Kind.HOST, Kind.IDLE)
    }
    (head_s, head_w), (host_s, host_w) = of[Kind.HEAD], of[Kind.HOST]
    sent = np.array([float(OPTIONS[route].wire_bytes) for route, _ in actions])
    cloud_s = np.array([OPTIONS[r].cloud_flops / SERVER_FLOPS_PER_S for r, _ in actions])
    away_s = np.where(sent > 0.0, 8.0 * sent / rate_bps + RTT_S + cloud_s, 0.0)
    rest_s = np.maximum(1.0 / REQUEST_HZ - head_s - host_s, 0.0)
    energy_j = of[Kind.IDLE][1] * rest_s + head_w * head_s + host_w * host_s
    time_s = head_s + host_s + away_s
    return np.asarray(ETA * energy_j + (1.0 - ETA) * LARGEST_W * time_s)
