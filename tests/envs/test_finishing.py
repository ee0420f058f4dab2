"""Clocks raised for what the board finishes: as simulated, on a modelled board in real time."""

from __future__ import annotations

import numpy as np
import pytest

from envs.live.pacer import BoardPacer
from envs.sim.clocks import Clocks, clock_tables
from envs.sim.finishing import finish, top_clocks
from hw.boards.sim import SimBoard
from partition.model.cost import Cost
from partition.model.routes import Route, RouteOption
from tests.hw.fake.clock import FakeClock

ROUTE, ONE = Route(0), np.ones(1)
WORK = Cost(int(8e8), 0, int(3e7), 60)
SPAN_S = 0.6


@pytest.fixture
def board(device):
    clock = FakeClock()
    with SimBoard(device, clock=clock, sleep=clock.sleep) as board:
        board.clock = clock
        yield board


def pacer(board, **settings):
    option = RouteOption(ROUTE, "input", 60_000, Cost(0, 0, 0, 0), WORK, 8e8, None, None, None)
    return BoardPacer(board, [option], **settings)


def held(board, place):
    """Hold all clocks at a place of their tables until they are in force."""
    board.apply({name: domain.available_hz[place] for name, domain in board.domains.items()})
    board.clock.sleep(0.1)


def spent(board, work):
    """Time that some work takes, and the board's energy over a longer time around it."""
    board.begin_window()
    began_s = board.clock()
    with work:
        pass
    took_s = board.clock() - began_s
    board.clock.sleep(SPAN_S - took_s)
    return took_s, board.end_window().energy_j


@pytest.mark.parametrize("place", [0, 2])
def test_time_and_energy_of_finishing_are_those_simulated(board, device, place):
    held(board, place)
    _, idle_j = spent(board, pacer(board).edge(ROUTE))
    took_s, energy_j = spent(board, pacer(board).fallback(ROUTE))
    clocks = Clocks(*(table[place : place + 1] for table in clock_tables(device)))
    demand = device.network.demand(WORK.flops, WORK.traffic_bytes, WORK.kernels)
    found = finish(device, demand, clocks, top_clocks(device, ONE), ONE, 0.0 * ONE)
    assert found.is_raised
    assert took_s == pytest.approx(found.total_s[0], rel=0.1)
    assert took_s < 0.6 * found.held.total_s[0]
    more_j = found.busy_j(device, clocks, ONE) + found.idle_j(device, clocks)
    memory_j = WORK.traffic_bytes * device.power.memory_j_per_byte
    assert energy_j - idle_j == pytest.approx(more_j[0] + memory_j, rel=0.1)


def test_the_clocks_are_as_before_afterwards(board):
    held(board, 1)
    with pacer(board).fallback(ROUTE):
        board.clock.sleep(0.02)
        raised = {name: domain.read_hz() for name, domain in board.domains.items()}
    board.clock.sleep(0.02)
    for name, domain in board.domains.items():
        assert raised[name] == domain.available_hz[-1]
        assert domain.read_hz() == domain.available_hz[1]


def test_the_time_that_is_kept_back_is_that_with_raised_clocks(board):
    held(board, 0)
    raised_s, kept_s = pacer(board).fallback_s(ROUTE), pacer(board, may_raise=False)
    assert raised_s < 0.2 * kept_s.fallback_s(ROUTE)
    with kept_s.fallback(ROUTE):
        board.clock.sleep(0.02)
        assert all(domain.read_hz() == domain.available_hz[0] for domain in board.domains.values())
