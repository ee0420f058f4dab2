"""Laws of governors against steps computed by hand from the kernel's sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw.device.governors import Governors
from hw.governors.clocks import FollowsGpu, GovernedClocks
from hw.governors.ondemand import Ondemand
from hw.governors.pod_scaling import PodScaling
from hw.governors.schedutil import Schedutil, SchedutilSettings
from hw.governors.simple_ondemand import SimpleOndemand

POINTS = np.array([100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0, 1000.0])
ONE = np.ones(1)
TOP = 1000.0 * ONE
MS = 1e-3


def run(law, ms, hz, busy, cap=TOP):
    for _ in range(ms):
        hz = law.advance(MS, np.minimum(hz, cap), cap, busy * ONE)
    return hz


def test_schedutil_counts_half_of_the_utilisation_after_a_half_life():
    law = Schedutil(POINTS, 1, SchedutilSettings(rate_limit_s=0.032))
    assert run(law, 31, TOP, 1.0) == 1000.0  # not yet
    assert law.utilisation[0] == pytest.approx(1.0 - 0.5 ** (31 / 32))
    assert run(law, 1, TOP, 1.0) == 700.0  # 1.25 x 0.5 x 1000, on the table


def test_schedutil_changes_no_clock_within_its_rate_limit():
    law = Schedutil(POINTS, 1)
    assert run(law, 9, TOP, 0.0) == 1000.0
    assert run(law, 1, TOP, 0.0) == 100.0


def test_schedutil_in_one_step_to_its_next_choice_is_as_in_many():
    one, many = Schedutil(POINTS, 1), Schedutil(POINTS, 1)
    assert one.until_choice_s == pytest.approx(0.010)
    for busy in (1.0, 1.0, 0.3):
        found = one.advance(one.until_choice_s, 200.0 * ONE, TOP, busy * ONE)
        assert run(many, 10, 200.0 * ONE, busy) == found
    assert one.utilisation == pytest.approx(many.utilisation)


def test_a_device_may_have_schedutil_for_its_gpu_as_the_emulated_board_has(tx2):
    device = replace(tx2, governors=Governors(gpu="schedutil"))
    caps = [
        np.full(1, device.domains[name].available_hz[-1], float) for name in ("cpu", "gpu", "emc")
    ]
    clocks = GovernedClocks(device, caps)
    for _ in range(50):
        clocks.advance(MS, caps, 0.0 * ONE, 0.0 * ONE)
    assert clocks.hz[1] == device.gpu_hz[0]


def test_schedutil_counts_work_or_time():
    """At half the clock, always busy: half of the highest clock's work, or all of the time."""
    work, time = (Schedutil(POINTS, 1, SchedutilSettings(is_invariant=i)) for i in (True, False))
    half = 500.0 * ONE
    for law in (work, time):
        for _ in range(500):
            law.advance(MS, half, half, ONE)
    assert work.utilisation[0] == pytest.approx(0.5, abs=1e-4)
    assert time.utilisation[0] == pytest.approx(1.0, abs=1e-4)


def test_schedutil_stays_below_the_cap():
    assert run(Schedutil(POINTS, 1), 500, TOP, 1.0, cap=400.0 * ONE) == 400.0


def test_pod_scaling_rises_by_a_third_of_the_highest_clock_when_full():
    law = PodScaling(POINTS, 1)
    low = 100.0 * ONE
    assert run(law, 49, low, 1.0) == 100.0  # within the window
    assert run(law, 1, low, 1.0) == 500.0  # 100 + 333, on the table


def test_pod_scaling_falls_damped():
    """Idle from the start at 1000: the mean idle share is 1/11 after a poll, then 0.1736.

    So 0.8 x (0.8264 / 0.7 - 1) = 0.1445 more is asked for; 0.7 of that and 0.3 of the mean of
    what was asked for, 1144.5 / 11, make 832.
    """
    assert run(PodScaling(POINTS, 1), 50, TOP, 0.0) == 900.0


def test_pod_scaling_goes_to_the_lowest_clock_at_rest():
    assert run(PodScaling(POINTS, 1), 3000, TOP, 0.0) == 100.0


def test_pod_scaling_settles_near_its_target_load():
    """Work that would fill 0.35 of the highest clock's time."""
    law, hz = PodScaling(POINTS, 1), TOP
    seen = []
    for k in range(6000):
        hz = law.advance(MS, hz, TOP, np.minimum(350.0 / hz, 1.0))
        seen += [float(hz[0])] * (k > 3000)
    assert 350.0 / np.mean(seen) == pytest.approx(0.7, abs=0.12)


@pytest.mark.parametrize(("load", "found"), [(0.96, 1000.0), (0.8, 900.0), (0.5, 600.0)])
def test_ondemand_jumps_or_is_proportional(load, found):
    """Whatever clock the load was seen at; 100 + 0.5 x 900 is 550, on the table 600."""
    assert run(Ondemand(POINTS, 1), 9, 300.0 * ONE, load) == 300.0
    assert run(Ondemand(POINTS, 1), 10, 300.0 * ONE, load) == found


def test_clocks_that_no_governor_moves_stay_at_their_caps(tx2):
    caps = [np.full(1, hz[2]) for hz in (tx2.cpu_hz, tx2.gpu_hz, tx2.emc_hz)]
    clocks = GovernedClocks(tx2, caps, ("gpu",))
    for _ in range(2000):
        clocks.advance(MS, caps, 0.0 * ONE, 0.0 * ONE)
    assert [float(hz[0]) for hz in clocks.hz] == [tx2.cpu_hz[2], tx2.gpu_hz[0], tx2.emc_hz[2]]


@pytest.mark.parametrize(("load", "found"), [(0.95, 1000.0), (0.88, 500.0), (0.5, 300.0)])
def test_simple_ondemand_jumps_stays_or_fits(load, found):
    assert run(SimpleOndemand(POINTS, 1), 49, 500.0 * ONE, load) == 500.0
    assert run(SimpleOndemand(POINTS, 1), 50, 500.0 * ONE, load) == found  # 0.5 x 500 / 0.875


def test_a_memory_clock_follows_the_gpu():
    assert FollowsGpu(POINTS, 1).advance(MS, TOP, TOP, 0.55 * ONE) == 600.0


def test_boards_side_by_side_are_boards_apart(tx2):
    generator = np.random.default_rng(0)
    caps = [generator.choice(table, 5) for table in (tx2.cpu_hz, tx2.gpu_hz, tx2.emc_hz)]
    busy = generator.uniform(0.0, 1.0, (300, 5))
    together = GovernedClocks(tx2, caps)
    apart = [GovernedClocks(tx2, [cap[k : k + 1] for cap in caps]) for k in range(5)]
    for row in busy:
        together.advance(MS, caps, row, 0.6 * row)
        for k, one in enumerate(apart):
            one.advance(MS, [cap[k : k + 1] for cap in caps], row[k : k + 1], 0.6 * row[k : k + 1])
    for domain in range(3):
        found = together.hz[domain]
        assert found.tolist() == [one.hz[domain][0] for one in apart]
        assert (found <= caps[domain]).all()


def test_a_clock_falls_at_once_where_its_cap_does(tx2):
    top = [np.array([table[-1]]) for table in (tx2.cpu_hz, tx2.gpu_hz, tx2.emc_hz)]
    low = [np.array([table[0]]) for table in (tx2.cpu_hz, tx2.gpu_hz, tx2.emc_hz)]
    clocks = GovernedClocks(tx2, top)
    clocks.advance(MS, low, ONE, ONE)
    assert [hz[0] for hz in clocks.hz] == [hz[0] for hz in low]
