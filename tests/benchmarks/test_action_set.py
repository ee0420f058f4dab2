"""How far larger sets of actions go below today's optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import action_set
from benchmarks.action_set import (
    KINDS,
    TODAY,
    FinishingApart,
    Fleet,
    Pairs,
    RaceAndIdle,
    RaceWithoutDelay,
    weighed,
)
from envs.scenarios.signals import Signal
from envs.sim.build import build_sim_config
from envs.sim.finishing import actuation_delay_s

SEEDS = np.arange(2, dtype=np.uint64)


@pytest.fixture(scope="module")
def world():
    return build_sim_config("tx2", scenarios=["steady-wifi"])


@pytest.fixture(scope="module")
def fleet(world):
    boards = Fleet(world, 2)
    boards.reset(SEEDS)
    return boards


@pytest.fixture(scope="module")
def stranded(world):
    """Boards whose link is too slow for anything."""
    signals = {**world.scenarios[0].signals, "link_bps": Signal(quantiles=(3e5,))}
    boards = Fleet(replace(world, scenarios=(replace(world.scenarios[0], signals=signals),)), 2)
    boards.reset(SEEDS)
    return boards


def every(fleet, kind=None):
    """Power, latency and energy of every action, each way that the kind has."""
    sizes = [len(axis.values) for axis in fleet.layout.axes]
    boards = slice(0, 2)
    ways = [fleet.every_outcome(boards)] if kind is None else kind.outcomes(fleet, boards)
    return [
        {
            name: np.broadcast_to(getattr(outcome, name), (2, *sizes))
            for name in ("power_w", "latency_s", "energy_j")
        }
        for outcome in ways
    ]


def test_more_actions_cost_no_more():
    for device in ("tx2", "pi4"):  # the latter has no clock of a GPU
        found = weighed(device, 3, 12)
        costs = {name: np.concatenate(sums.cost) for name, sums in found.items()}
        assert set(costs) == {TODAY, *KINDS}
        for name in KINDS:
            assert (costs[name] <= costs[TODAY] + 1e-6).all()


def test_racing_draws_less_and_takes_longer(fleet):
    (today,), (raced,) = every(fleet), every(fleet, RaceAndIdle())
    whole = (slice(None), -1, -1, -1, -1)
    assert (raced["power_w"][whole] < 0.9 * today["power_w"][whole]).all()
    later_s = raced["latency_s"][whole] - today["latency_s"][whole]
    assert ((later_s > 0.0) & (later_s < 0.02)).all()
    lowest = (slice(None), 0, 0, 0, -1)  # nothing to raise to, once the clocks are down
    for name in today:
        assert raced[name][lowest] == pytest.approx(today[name][lowest], rel=0.01)
    assert fleet.rest is None
    np.testing.assert_array_equal(every(fleet)[0]["power_w"], today["power_w"])


def test_clocks_that_change_in_no_time_are_a_bound(fleet):
    (raced,), (bound,) = every(fleet, RaceAndIdle()), every(fleet, RaceWithoutDelay())
    whole = (slice(None), -1, -1, -1, -1)
    for name in ("power_w", "latency_s", "energy_j"):
        assert (bound[name][whole] < raced[name][whole]).all()
    assert actuation_delay_s(fleet.world.device) > 0.0


def test_who_races_pays_for_finishing_from_the_lowest_clocks(stranded):
    """A request that is not sent is one of the board's own, a delay and raised clocks included."""
    (raced,) = every(stranded, RaceAndIdle())
    top, lowest = (slice(None), -1, -1, -1), (slice(None), 0, 0, 0)
    for name in ("power_w", "latency_s"):  # where nothing is computed before it
        from_top, from_lowest = raced[name][(*top, 0)], raced[name][(*lowest, 0)]
        assert from_top == pytest.approx(from_lowest, rel=1e-3)
        assert from_top == pytest.approx(raced[name][(*top, -1)], rel=0.05)


def test_finishing_at_lower_clocks_takes_longer(stranded):
    lowest = (slice(None), 0, 0, 0, 0)
    took_s = [way["latency_s"][lowest][0] for way in every(stranded, FinishingApart())]
    assert len(took_s) == 4
    assert took_s == sorted(took_s, reverse=True)
    assert took_s[-1] > every(stranded)[0]["latency_s"][lowest][0]


def test_pairs_wait_for_each_other(world, fleet):
    (today,), (paired,) = every(fleet), every(fleet, Pairs(world))
    more_s = paired["latency_s"] - today["latency_s"]
    assert (more_s[:, -1, -1, -1, -1] > 0.05).all()  # half of a tenth of a second, and more work
    sent = (slice(None), -1, -1, -1, slice(0, -1))
    assert np.abs(more_s[sent]).max() < 1e-6  # nothing is quicker that is finished alone


def test_the_verdict_names_what_is_worth_it():
    text = action_set._verdict({"race and idle": 0.93, "two requests at once": 0.99})
    assert "Race and idle: 7.0 % at best, and is worth offering." in text
    assert "Two requests at once: 1.0 % at best, and is not offered." in text
