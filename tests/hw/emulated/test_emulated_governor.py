"""Schedutil's law on both clocks, while nothing holds them and below caps."""

from __future__ import annotations

import pytest

from hw.emulated.machine import CLOCKS

TOP = {name: table.available_hz[-1] for name, table in CLOCKS.items()}
BOTTOM = {name: table.available_hz[0] for name, table in CLOCKS.items()}


def point(board):
    return {name: domain.read_hz() for name, domain in board.domains.items()}


def serve(board, clock, work, busy_s, idle_s, n=20):
    """Run the network again and again; the clocks at the end of each piece."""
    seen = []
    for _ in range(n):
        with board.pace(1.0, 1.0, 1.0):
            work(busy_s)
        seen.append(point(board))
        clock.sleep(idle_s)
    return seen


def test_an_idle_machine_is_at_the_bottom_before_it_is_opened(make, clock):
    board = make()
    clock.sleep(1.0)
    assert point(board) == BOTTOM


def test_work_raises_its_clock_and_rest_lowers_it(emulated, clock, work):
    """The processor waits for the network by spinning, the network for nothing."""
    assert serve(emulated, clock, work, busy_s=0.050, idle_s=0.0)[-1] == TOP
    clock.sleep(0.5)
    assert point(emulated) == BOTTOM
    with emulated.host():
        work(0.5)
    assert point(emulated) == {"cpu": TOP["cpu"], "gpu": BOTTOM["gpu"]}


def test_both_kinds_of_work_in_turn_do_not_starve_each_other(emulated, clock, work):
    """20 requests per second of 18 ms: what the lowest clocks cannot do, the governors see."""
    began_s, late_s = clock(), []
    for number in range(60):
        arrived_s = began_s + 0.050 * number
        clock.sleep(max(arrived_s - clock(), 0.0))
        with emulated.host():
            work(0.005)
        with emulated.pace(1.0, 1.0, 1.0):
            work(0.013)
        late_s.append(clock() - arrived_s)
    assert max(late_s[-20:]) < 0.060


def test_part_load_needs_a_clock_between(emulated, clock, work):
    """10 ms of work in each 25: 1.25 times two fifths of 690 MHz, more at the end of a piece."""
    began_s, seen = clock(), []
    for number in range(60):
        with emulated.pace(1.0, 1.0, 1.0):
            work(0.010)
        seen.append(point(emulated)["gpu"])
        clock.sleep(max(began_s + 0.025 * (number + 1) - clock(), 0.0))
    assert set(seen[20:]) <= {340_000_000, 450_000_000, 570_000_000}


def test_a_held_clock_stays(emulated, clock, work, hold):
    hold(emulated, gpu=240_000_000, cpu=450_000_000)
    seen = serve(emulated, clock, work, busy_s=0.050, idle_s=0.050, n=5)
    assert seen == [{"gpu": 240_000_000, "cpu": 450_000_000}] * 5


def test_below_a_cap_the_governor_chooses(make, clock, work, hold):
    with make(caps_only=True) as board:
        hold(board, gpu=340_000_000, cpu=TOP["cpu"])
        assert point(board) == BOTTOM
        seen = serve(board, clock, work, busy_s=0.050, idle_s=0.0, n=10)
        assert seen[-1] == {"gpu": 340_000_000, "cpu": TOP["cpu"]}
        assert board.verify() == {"gpu": 340_000_000, "cpu": TOP["cpu"]}


@pytest.mark.parametrize("caps_only", [False, True])
def test_a_closed_machine_has_its_governor_back(make, clock, work, hold, caps_only):
    board = make(caps_only=caps_only)
    with board:
        hold(board, gpu=340_000_000, cpu=450_000_000)
    clock.sleep(0.5)
    assert point(board) == BOTTOM
    assert serve(board, clock, work, 0.050, 0.0)[-1]["gpu"] == TOP["gpu"]


@pytest.mark.parametrize("caps_only", [False, True])
def test_clocks_given_back_are_the_governors_and_sensors_go_on(make, clock, work, hold, caps_only):
    with make(caps_only=caps_only) as board:
        hold(board, gpu=240_000_000, cpu=TOP["cpu"])
        board.begin_window()
        with board.clocks_given_back():
            clock.sleep(0.5)
            assert point(board) == BOTTOM
            assert board.apply(TOP) == BOTTOM  # what is asked for meanwhile is not done
            assert board.verify() == {}
            assert serve(board, clock, work, 0.050, 0.0)[-1]["gpu"] == TOP["gpu"]
        assert board.end_window().energy_j > 0.0
        hold(board, gpu=240_000_000)
        assert serve(board, clock, work, 0.050, 0.0)[-1]["gpu"] == 240_000_000


def test_a_dry_run_leaves_the_clocks_to_the_governor(make, clock, hold):
    with make(dry_run=True) as board:
        hold(board, gpu=TOP["gpu"])
        assert point(board) == BOTTOM
