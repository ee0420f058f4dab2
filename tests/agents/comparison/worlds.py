"""Two arms on 200 boards side by side, under the noise and the drift of a hot box on a poor link.

Energy is made in windows of 2.5 s, the length of a washout. A board warms up within minutes, and a
warmer one leaks more; an arm that uses the link pays more where it is slow; and the sensors' error
is autocorrelated over several windows. What an arm saves is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from agents.comparison.effects import relative_effect
from agents.comparison.schedule import N_BLOCKS, rounds
from agents.comparison.stopping import FEWEST_ROUNDS, StoppingRule
from envs.scenarios.episodes import EpisodeConditions
from envs.scenarios.scenario import Scenario
from hw.device.model import DeviceModel

N_RUNS, N_ROUNDS = 200, 24
WINDOW_S, WINDOWS = 2.5, 5  # of a block, the first one is washed out
N_WINDOWS = N_ROUNDS * N_BLOCKS * WINDOWS
BUSY_W, IDLE_W, REQUEST_J = 6.0, 2.0, 0.25
LEAKAGE_PER_K = 0.004
NOISE, NOISE_KEPT = 0.03, 0.7  # of a window, and what is left of it in the next one
RATES_HZ, RESISTANCES = (5, 8, 10, 12, 15), (1.5, 1.9, 2.3)


@dataclass(frozen=True)
class Ends:
    """What each run came to, shape (N_RUNS,)."""

    is_shown: np.ndarray
    covers: np.ndarray
    minutes: np.ndarray


def compare(saving: float, elasticity: float, seed: int) -> Ends:
    """The first arm, which saves so much and uses the link so much, against the second."""
    draw = np.random.default_rng(seed)
    conditions = EpisodeConditions(
        [Scenario.load("hot-enclosure")],
        np.arange(N_RUNS).astype(np.uint64) + seed,
        N_WINDOWS,
        WINDOW_S,
    )
    rows = [conditions.row(t + 1) for t in range(N_WINDOWS)]
    link = np.array([row.link_bps for row in rows]) / 40e6
    heat = _leakage(rows[0].ambient_c, draw)
    of_arms = np.stack([link**-elasticity, np.ones_like(link)])
    usual = (of_arms * heat).mean(axis=(1, 2))
    of_arms[0] *= (1.0 - saving) * usual[1] / usual[0]
    energy_j, requests = _rounds(of_arms * heat * _noise(draw), draw, seed)
    return _decide(energy_j, requests, np.log1p(-saving))


def _leakage(ambient_c, draw):
    """Power over that of a cold board, shape (N_WINDOWS, N_RUNS)."""
    thermal = DeviceModel.load("tx2").thermal
    watts = BUSY_W * draw.choice(RESISTANCES, N_RUNS)
    fast = slow = np.zeros(N_RUNS)
    temperatures = []
    for _ in range(N_WINDOWS):
        fast, slow = thermal.step(fast, slow, watts, WINDOW_S)
        temperatures.append(thermal.temperature_c(ambient_c, fast, slow))
    rise = np.array(temperatures) - temperatures[0]
    assert np.median(rise[-1]) > 10.0
    return 1.0 + LEAKAGE_PER_K * rise


def _noise(draw):
    white = draw.normal(size=(N_WINDOWS, N_RUNS))
    noise = white.copy()
    for t in range(1, N_WINDOWS):
        noise[t] = NOISE_KEPT * noise[t - 1] + np.sqrt(1.0 - NOISE_KEPT**2) * white[t]
    return np.exp(NOISE * noise)


def _rounds(factors, draw, seed):
    """Energy and requests of each run, round and arm, shape (N_RUNS, N_ROUNDS, 2)."""
    orders = np.array(
        [
            [
                [turn.arm for turn in turns]
                for turns in islice(rounds(seed * N_RUNS + run), N_ROUNDS)
            ]
            for run in range(N_RUNS)
        ]
    )
    energy_j, requests = np.zeros((2, N_RUNS, N_ROUNDS, 2))
    runs = np.arange(N_RUNS)
    for number in range(N_ROUNDS):
        for block in range(N_BLOCKS):
            if block % 2 == 0:  # the next one answers the same requests
                rate_hz = draw.choice(RATES_HZ, N_RUNS)
                came = draw.poisson(rate_hz * WINDOW_S, (WINDOWS, N_RUNS))
            arm = orders[:, number, block]
            begin = (number * N_BLOCKS + block) * WINDOWS
            mine = factors[arm, begin + np.arange(WINDOWS)[:, None], runs]
            used_j = (IDLE_W * WINDOW_S + REQUEST_J * came) * mine
            energy_j[runs, number, arm] += used_j[1:].sum(axis=0)
            requests[runs, number, arm] += came[1:].sum(axis=0)
    return energy_j, requests


def _decide(energy_j, requests, truth):
    rule = StoppingRule(N_ROUNDS)
    left = np.ones(N_RUNS, bool)
    is_shown, covers, minutes = np.zeros((3, N_RUNS))
    for k in range(FEWEST_ROUNDS, N_ROUNDS + 1):
        effect = relative_effect(energy_j[:, :k], requests[:, :k])
        ends = left & (rule.is_clear(effect) | (k == N_ROUNDS))
        is_shown[ends] = rule.is_shown(effect)[ends]
        covers[ends] = (np.abs(effect.value - truth) <= rule.half_width(effect))[ends]
        minutes[ends] = k * N_BLOCKS * WINDOWS * WINDOW_S / 60.0
        left &= ~ends
    return Ends(is_shown, covers, minutes)
