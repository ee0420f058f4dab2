"""Honesty of `deploy.py --against`, on a virtual clock: `python -m benchmarks.switchback`.

Two arms on 200 boards side by side, under the noise and the drift of a hot box on a poor link.
Energy is made in windows of 2.5 s, the length of a washout. A board warms up within minutes, and a
warmer one leaks more; an arm that uses the link pays more where it is slow; and the sensors' error
is autocorrelated over several windows. What an arm saves is known.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from agents.comparison.effects import relative_effect
from agents.comparison.schedule import N_BLOCKS, rounds
from agents.comparison.stopping import FEWEST_ROUNDS, StoppingRule
from common import command
from envs.arrays import Floats
from envs.scenarios.episodes import EpisodeConditions
from envs.scenarios.scenario import Scenario
from hw.device.model import DeviceModel

N_RUNS, N_ROUNDS = 200, 24
"""24 rounds take the usual 20 minutes."""
WINDOW_S = 2.5
WINDOWS = 5
"""Of a block; the first one is washed out."""
N_WINDOWS = N_ROUNDS * N_BLOCKS * WINDOWS
BUSY_W, IDLE_W, REQUEST_J = 6.0, 2.0, 0.25
LEAKAGE_PER_K = 0.008
"""Assumed: a board draws a tenth more once it is warm, as after 10 to 15 K."""
NOISE, NOISE_KEPT = 0.03, 0.7
"""Standard deviation of a window's energy, and what is left of an error in the next window: 2.5 %
of a block. An Orin Nano's input scatters by 1.2 % under steady loads (mean of 50 networks of
joshua41057/neural-operator-jetson-benchmark) and by 7 % at 0.1 s in bursts of one, each reading of
which keeps 0.75 of the last (hokwangchoi/jetson-orin-nano-benchmarks): 1.9 % of a block."""
RATES_HZ, RESISTANCES = (5.0, 8.0, 10.0, 12.0, 15.0), (1.5, 1.9, 2.3)
"""Of hot-enclosure: requests, and the case against the developer kit's heat sink."""
USUAL_LINK_BPS = 40e6
USES_LINK = 0.15
"""Energy grows with this power of a slower link: by a tenth where it halves."""
CASES = (
    ("equal, neither uses the link", 0.0, 0.0),
    ("equal in the mean, the first uses the link", 0.0, USES_LINK),
    ("saves 3 %, does not use the link", 0.03, 0.0),
    ("saves 3 %, uses the link", 0.03, USES_LINK),
    ("saves 7 %, uses the link", 0.07, USES_LINK),
    ("saves 25 %, uses the link", 0.25, USES_LINK),
)
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Ends:
    """What the runs came to, arrays of shape (N_RUNS,).

    Attributes:
        is_shown: whether the arms were called different.
        covers: whether the interval at the end holds the truth.
        minutes: that it took.
    """

    is_shown: NDArray[np.bool_]
    covers: NDArray[np.bool_]
    minutes: Floats


def compare(saving: float, elasticity: float, seed: int) -> Ends:
    """Compare two arms in `N_RUNS` runs.

    Args:
        saving: share of the energy per request that the first saves, in the mean.
        elasticity: power of a slower link with which its energy grows.
        seed: of all that is random.
    """
    draw = np.random.default_rng(seed)
    seeds = np.arange(N_RUNS).astype(np.uint64) + np.uint64(seed)
    scenario = Scenario.load("hot-enclosure")
    conditions = EpisodeConditions([scenario], seeds, N_WINDOWS, WINDOW_S)
    rows = [conditions.row(t + 1) for t in range(N_WINDOWS)]
    link = np.array([row.link_bps for row in rows]) / USUAL_LINK_BPS
    heat = leakage(rows[0].ambient_c, draw)
    of_arms = np.stack([link**-elasticity, np.ones_like(link)])
    usual = (of_arms * heat).mean(axis=(1, 2))
    of_arms[0] *= (1.0 - saving) * usual[1] / usual[0]
    energy_j, requests = _rounds(of_arms * heat * _noise(draw), draw, seed)
    return _decide(energy_j, requests, float(np.log1p(-saving)))


def leakage(ambient_c: Floats, draw: np.random.Generator) -> Floats:
    """Power over that of a cold board, shape (N_WINDOWS, N_RUNS)."""
    thermal = DeviceModel.load("tx2").thermal
    watts = BUSY_W * draw.choice(RESISTANCES, N_RUNS)
    fast = slow = np.zeros(N_RUNS)
    temperatures = []
    for _ in range(N_WINDOWS):
        fast, slow = thermal.step(fast, slow, watts, WINDOW_S)
        temperatures.append(thermal.temperature_c(ambient_c, fast, slow))
    rise = np.array(temperatures) - temperatures[0]
    return np.asarray(1.0 + LEAKAGE_PER_K * rise)


def _noise(draw: np.random.Generator) -> Floats:
    white = draw.normal(size=(N_WINDOWS, N_RUNS))
    noise = white.copy()
    for t in range(1, N_WINDOWS):
        noise[t] = NOISE_KEPT * noise[t - 1] + np.sqrt(1.0 - NOISE_KEPT**2) * white[t]
    return np.asarray(np.exp(NOISE * noise))


def _rounds(factors: Floats, draw: np.random.Generator, seed: int) -> tuple[Floats, Floats]:
    """Energy and requests of each run, round and arm, shape (N_RUNS, N_ROUNDS, 2)."""
    schedules = (islice(rounds(seed * N_RUNS + run), N_ROUNDS) for run in range(N_RUNS))
    orders = np.array([[[turn.arm for turn in turns] for turns in s] for s in schedules])
    energy_j, requests = np.zeros((2, N_RUNS, N_ROUNDS, 2))
    runs = np.arange(N_RUNS)
    came = np.zeros((WINDOWS, N_RUNS), dtype=np.int64)
    for number in range(N_ROUNDS):
        for block in range(N_BLOCKS):
            if block % 2 == 0:  # the next one answers the same requests
                came = draw.poisson(draw.choice(RATES_HZ, N_RUNS) * WINDOW_S, (WINDOWS, N_RUNS))
            arm = orders[:, number, block]
            begin = (number * N_BLOCKS + block) * WINDOWS
            mine = factors[arm, begin + np.arange(WINDOWS)[:, None], runs]
            used_j = (IDLE_W * WINDOW_S + REQUEST_J * came) * mine
            energy_j[runs, number, arm] += used_j[1:].sum(axis=0)
            requests[runs, number, arm] += came[1:].sum(axis=0)
    return energy_j, requests


def _decide(energy_j: Floats, requests: Floats, truth: float) -> Ends:
    rule = StoppingRule(N_ROUNDS)
    left = np.ones(N_RUNS, dtype=np.bool_)
    is_shown, covers, minutes = np.zeros_like(left), np.zeros_like(left), np.zeros(N_RUNS)
    for k in range(FEWEST_ROUNDS, N_ROUNDS + 1):
        effect = relative_effect(energy_j[:, :k], requests[:, :k])
        ends = left & (rule.is_clear(effect) | (k == N_ROUNDS))
        is_shown[ends] = rule.is_shown(effect)[ends]
        covers[ends] = (np.abs(effect.value - truth) <= rule.half_width(effect))[ends]
        minutes[ends] = k * N_BLOCKS * WINDOWS * WINDOW_S / 60.0
        left &= ~ends
    return Ends(is_shown, covers, minutes)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    argparse.ArgumentParser("python -m benchmarks.switchback", description=__doc__).parse_args(argv)
    print(
        f"| first arm against second | called different, of {N_RUNS} | interval holds the truth | "
        "median end |"
    )
    print("|---|---|---|---|")
    for name, saving, elasticity in CASES:
        ends = [compare(saving, elasticity, seed) for seed in SEEDS]
        shown = ", ".join(str(int(one.is_shown.sum())) for one in ends)
        holds = ", ".join(f"{100 * one.covers.mean():.1f}" for one in ends)
        median = np.median(np.concatenate([one.minutes for one in ends]))
        print(f"| {name} | {shown} | {holds} % | {median:.1f} min |")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
