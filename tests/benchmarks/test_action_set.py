"""How far larger sets of actions go below today's optimum."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import action_set
from benchmarks.action_set import MOVES, TODAY, ClocksApart, Pairs, RaceAndIdle, weighed
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config

SEEDS = np.arange(2, dtype=np.uint64)


@pytest.fixture(scope="module")
def world():
    return build_sim_config("tx2", scenarios=["steady-wifi"])


@pytest.fixture(scope="module")
def fleet(world):
    boards = BatchedSimulator(world, 2)
    boards.reset(SEEDS)
    return boards


def every(fleet, moves=None):
    outcome = fleet.every_outcome(slice(0, 2), moves)
    sizes = [len(axis.values) for axis in fleet.layout.axes]
    return {
        name: np.broadcast_to(getattr(outcome, name), (2, *sizes))
        for name in ("power_w", "latency_s", "energy_j")
    }


def test_more_actions_cost_no_more():
    for device in ("tx2", "pi4"):  # the latter has no clock of a GPU
        found = weighed(device, 3, 12)
        costs = {name: np.concatenate(sums.cost) for name, sums in found.items()}
        assert set(costs) == {TODAY, *MOVES}
        for name in MOVES:
            assert (costs[name] <= costs[TODAY] + 1e-6).all()


def test_racing_draws_less_and_takes_longer(world, fleet):
    today, raced = every(fleet), every(fleet, RaceAndIdle(world))
    whole = (slice(None), -1, -1, -1, -1)
    assert (raced["power_w"][whole] < 0.9 * today["power_w"][whole]).all()
    later_s = raced["latency_s"][whole] - today["latency_s"][whole]
    assert ((later_s > 0.0) & (later_s < 0.02)).all()
    lowest = (slice(None), 0, 0, 0, -1)  # nothing to raise
    assert raced["power_w"][lowest] == pytest.approx(today["power_w"][lowest], rel=1e-3)
    assert raced["latency_s"][lowest] == pytest.approx(today["latency_s"][lowest], rel=1e-3)


def test_no_race_goes_below_the_bound(world, fleet):
    raced, bound = every(fleet, RaceAndIdle(world)), every(fleet, ClocksApart(world))
    whole = (slice(None), -1, -1, -1, -1)
    assert (bound["power_w"][whole] < raced["power_w"][whole]).all()
    assert (bound["latency_s"][whole] <= raced["latency_s"][whole]).all()


def test_pairs_wait_for_each_other(world, fleet):
    pairs = Pairs(world)
    outcome = fleet.every_outcome(slice(0, 2), pairs)
    rate_hz = np.full((2, 1, 1, 1, 1), 10.0)
    waited = pairs.waited(outcome, rate_hz, np.full_like(rate_hz, 0.1))
    more_s = np.broadcast_to(waited.latency_s - outcome.latency_s, (2, 12, 13, 8, 7))
    assert np.abs(more_s[..., :-1]).max() < 1e-6
    assert (more_s[:, -1, -1, -1, -1] > 0.05).all()  # half of a tenth of a second, and more work


def test_the_verdict_names_what_is_worth_it():
    text = action_set._verdict({"race and idle": 0.93, "two requests at once": 0.99})
    assert "Race and idle: 7.0 % at best, and would be worth offering." in text
    assert "Two requests at once: 1.0 % at best, and is not offered." in text
