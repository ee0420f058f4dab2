"""Work takes t(f_max) f_max / f: exactly on a virtual clock, and within 5 % for real."""

from __future__ import annotations

import math
import time

import pytest

from hw.boards.emulated import EmulatedBoard
from hw.emulated.machine import CLOCKS
from hw.errors import UnsupportedError

POINTS = [(name, hz) for name, table in CLOCKS.items() for hz in table.available_hz]
DOMAINS = {"cpu": lambda board: board.host(), "gpu": lambda board: board.pace(1e9, 1e6, 10.0)}


def top_hz(name):
    return CLOCKS[name].available_hz[-1]


@pytest.mark.parametrize("work_s", [0.0001, 0.003, 0.012, 0.06])
@pytest.mark.parametrize(("name", "hz"), POINTS)
def test_each_clock_has_the_time_of_its_own_work(emulated, clock, work, hold, name, hz, work_s):
    others = {other: CLOCKS[other].available_hz[1] for other in CLOCKS}
    hold(emulated, **{**others, name: hz})
    began_s = clock()
    with DOMAINS[name](emulated):
        work(work_s)
    assert clock() - began_s == pytest.approx(work_s * top_hz(name) / hz, abs=2e-6)


def test_a_processor_that_was_waited_for_does_not_count(emulated, clock, work, hold):
    hold(emulated, gpu=340_000_000)
    began_s = clock()
    with emulated.pace(1.0, 1.0, 1.0):
        work(0.012, wall_s=0.020)
    assert clock() - began_s == pytest.approx(0.012 * 690 / 340, abs=2e-6)


def test_what_takes_longer_here_than_on_the_machine_is_not_shortened(emulated, clock, work, hold):
    hold(emulated, gpu=690_000_000)
    began_s = clock()
    with emulated.pace(1.0, 1.0, 1.0):
        work(0.012, wall_s=0.020)
    assert clock() - began_s == pytest.approx(0.020)


def test_work_that_this_machine_is_too_loaded_for_is_counted(emulated, work, hold):
    hold(emulated, gpu=340_000_000)  # half, so that little is lost until twice the time has passed
    for wall_s in (0.012, 0.020, 0.024, 0.050):
        with emulated.pace(1.0, 1.0, 1.0):
            work(0.012, wall_s)
    assert emulated.too_slow_share == 0.25


def test_a_change_on_the_way_counts_from_the_end_of_its_delay(emulated, clock, work, hold):
    hold(emulated, gpu=690_000_000)
    began_s = clock()
    with emulated.pace(1.0, 1.0, 1.0):
        work(0.030)
        emulated.apply({"gpu": 345_000_000})
        work(0.030)
    # 40 ms at the top, the last ten of them by the delay; the other 20 ms of work at 340 MHz.
    assert clock() - began_s == pytest.approx(0.040 + 0.020 * 690 / 340, abs=2e-6)


def test_delays_are_the_clocks_own(emulated, clock, hold):
    hold(emulated, cpu=1_000_000_000, gpu=690_000_000)
    assert emulated.apply({"cpu": 1, "gpu": 1}) == {"cpu": 220_000_000, "gpu": 150_000_000}
    seen = {}
    for ms in range(1, 13):
        clock.sleep(0.001)
        for name, domain in emulated.domains.items():
            if domain.read_hz() == domain.available_hz[0]:
                seen.setdefault(name, ms)
    assert seen["cpu"] in (2, 3)  # by the rounding of a millisecond
    assert seen["gpu"] in (10, 11)


def test_work_that_fails_is_not_waited_for_and_leaves_the_machine_free(emulated, clock, busy):
    before_s = clock()

    def fail():
        busy.sleep(1.0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), emulated.host():
        fail()
    assert clock() == before_s
    with emulated.host():
        pass


def test_one_piece_of_work_at_a_time(emulated):
    with emulated.host(), pytest.raises(UnsupportedError, match="busy"), emulated.pace(1, 1, 1):
        pass


def test_late_wakings_are_learned_and_made_up_for(clock, busy):
    """As by a kernel that wakes 0.1 ms after the time."""
    late = EmulatedBoard(
        clock=clock, sleep=lambda s: clock.sleep(s + 1e-4), busy_clock=busy, domains=["gpu"]
    )
    with late:
        late.apply({"gpu": 345_000_000})
        clock.sleep(0.05)
        off_s = []
        for _ in range(100):
            began_s = clock()
            with late.pace(1.0, 1.0, 1.0):
                busy.sleep(0.003)
                clock.sleep(0.003)
            off_s.append(clock() - began_s - 0.003 * 690 / 340)
    assert off_s[0] == pytest.approx(1e-4, abs=2e-6)
    assert max(map(abs, off_s[50:])) < 1e-5


WORK_S = (0.003, 0.012, 0.060)
TRIES = 20
CLOSE = 0.05
LOADED = 0.02
"""Where processor time and time differ by more, others have the processors."""
SETTLING = 10
"""Pieces until the board knows what its own accounting takes."""


def spin(work_s):
    end_s = time.thread_time() + work_s
    while time.thread_time() < end_s:
        pass


def took_s(board, work_s, hz):
    """Time of a piece of work, once the clock is in force."""
    board.apply({"gpu": hz})
    time.sleep(0.012)
    began_s = time.monotonic()
    with board.pace(1.0, 1.0, 1.0):
        spin(work_s)
    return time.monotonic() - began_s


def test_a_busy_loop_is_slowed_down_in_proportion():
    """Others disturb piece after piece on a loaded machine; a wrong law is wrong in each."""
    with EmulatedBoard() as board:
        for work_s in WORK_S:
            for _ in range(SETTLING):
                took_s(board, work_s, CLOCKS["gpu"].available_hz[-2])
            for hz in CLOCKS["gpu"].available_hz[:-1]:
                seen, fastest_s = [], math.inf
                for _ in range(TRIES):
                    lost = lost_share(work_s)
                    # Whatever else runs only adds, so that the quickest is what it takes.
                    fastest_s = min(fastest_s, took_s(board, work_s, top_hz("gpu")))
                    off = took_s(board, work_s, hz) / fastest_s * hz / top_hz("gpu") - 1.0
                    if max(lost, lost_share(work_s)) <= LOADED:
                        seen.append(off)
                        if abs(off) <= CLOSE:
                            break
                if not seen:
                    pytest.skip("this machine is too loaded: others have a share of its processors")
                assert min(map(abs, seen)) <= CLOSE, (work_s, hz, seen)


def lost_share(work_s):
    """Of the time, while a loop is busy that nothing paces."""
    began_s = time.monotonic()
    spin(work_s)
    return 1.0 - work_s / (time.monotonic() - began_s)
