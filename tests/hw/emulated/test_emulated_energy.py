"""What is drawn, what the monitor shows of it, and how honest its windows are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hw.emulated.machine import CLOCKS
from hw.emulated.power import TABLE, Activity, Drift, PowerTable
from hw.emulated.sensor import PowerMonitor
from hw.errors import SensorReadError, WindowTooShortError

TOP = {name: table.available_hz[-1] for name, table in CLOCKS.items()}
TRUTH = PowerTable.shipped()


def rail(board):
    (sensor,) = board.power_sensors.values()
    return sensor


def test_the_table_has_every_point_and_says_that_it_is_invented():
    points = itertools.product(*(table.available_hz for table in CLOCKS.values()), Activity)
    assert set(TRUTH.points_w) == set(points)
    assert TABLE.read_text().startswith("# Invented")


def test_work_costs_more_than_rest_and_a_high_clock_more_than_a_low_one():
    cpu_hz, gpu_hz = (CLOCKS[name].available_hz for name in ("cpu", "gpu"))
    for cpu, gpu in itertools.product(cpu_hz, gpu_hz):
        idle_w = TRUTH.power_w(cpu, gpu, Activity.IDLE)
        assert all(TRUTH.power_w(cpu, gpu, a) > idle_w for a in (Activity.HOST, Activity.NETWORK))
    for cpu in cpu_hz:
        busy_w = [TRUTH.power_w(cpu, gpu, Activity.NETWORK) for gpu in gpu_hz]
        assert np.all(np.diff(busy_w) > 0.0)


def test_the_drift_is_slow_and_as_large_as_said():
    factors = np.array([Drift(3).factor(s) for s in range(0, 7200)])
    assert 0.9 * Drift.SPAN < np.ptp(factors) <= Drift.SPAN
    assert np.abs(np.diff(factors)).max() < 0.002  # in a second
    assert abs(factors.mean() - 1.0) < 0.003
    assert Drift(4).factor(100.0) != Drift(3).factor(100.0)


def test_what_is_drawn_is_the_tables_by_activity(emulated, clock, work, hold):
    hold(emulated, **TOP)
    emulated.begin_window()
    with emulated.pace(1.0, 1.0, 1.0):
        work(1.0)
    with emulated.host():
        work(2.0)
    clock.sleep(3.0)
    emulated.end_window()
    seconds = {Activity.NETWORK: 1.0, Activity.HOST: 2.0, Activity.IDLE: 3.0}
    table_j = sum(s * TRUTH.power_w(*TOP.values(), activity) for activity, s in seconds.items())
    assert emulated.true_energy_j == pytest.approx(table_j, rel=Drift.SPAN / 2)


def test_the_gain_is_the_monitors_own_and_stays():
    gains = [PowerMonitor(seed, 0.0).gain for seed in range(200)]
    assert max(abs(gain - 1.0) for gain in gains) <= PowerMonitor.GAIN_ERROR
    assert np.std(gains) > 0.4 * PowerMonitor.GAIN_ERROR
    assert PowerMonitor(7, 0.0).gain == gains[7]


def test_readings_are_means_of_a_tenth_of_a_second_in_steps(make, clock, work, hold):
    board = make(seed=2)
    with board:
        hold(board, **TOP)
        shown = []
        for _ in range(300):
            clock.sleep(0.02)
            shown.append(rail(board).read_w())
        assert np.allclose(np.array(shown) / 0.01, np.round(np.array(shown) / 0.01))
        changes = np.flatnonzero(np.diff(shown)) + 1
        assert set(changes % 5) == {changes[0] % 5}
        idle_w = TRUTH.power_w(*TOP.values(), Activity.IDLE)
        with board.present() as state:
            gain = state.monitor.gain
        assert np.mean(shown) == pytest.approx(gain * idle_w, rel=Drift.SPAN / 2 + 0.005)
        assert 0.01 < np.std(shown[10:]) < 0.05


def test_windows_admit_what_they_do_not_know(make, clock, work, hold):
    """But for the gain, which no window shows: random loads, windows of a step and longer."""
    draw = np.random.default_rng(1)
    board = make(seed=5)
    with board:
        hold(board, gpu=570_000_000, cpu=700_000_000)
        with board.present() as state:
            gain = state.monitor.gain
        off, admitted = [], []
        for _ in range(120):
            board.begin_window()
            left_s = draw.choice([0.25, 1.0])
            while left_s > 0.0:
                busy_s, idle_s = draw.uniform(0.005, 0.060, 2)
                with board.pace(1.0, 1.0, 1.0):
                    work(busy_s)
                clock.sleep(idle_s)
                left_s -= busy_s + idle_s
            found = board.end_window()
            off.append(abs(found.energy_j / gain - board.true_energy_j) / found.energy_j)
            admitted.append(found.uncertainty_j / found.energy_j)
    assert np.mean(np.array(off) <= admitted) >= 0.99
    assert np.median(admitted) < 0.3
    assert np.mean(off) < 0.05


def test_a_long_window_is_right_but_for_the_gain(emulated, clock, hold):
    hold(emulated, **TOP)
    emulated.begin_window()
    clock.sleep(30.0)
    found = emulated.end_window()
    with emulated.present() as state:
        gain = state.monitor.gain
    assert found.energy_j / gain == pytest.approx(emulated.true_energy_j, rel=0.003)
    assert found.duration_s == pytest.approx(30.0)
    assert found.n_samples in (299, 300, 301)
    assert found.uncertainty_j < 0.02 * found.energy_j
    assert found.mean_w == {"VDD_IN": found.energy_j / found.duration_s}


def test_a_window_too_short_for_the_monitor_is_refused(emulated, clock):
    assert emulated.shortest_window_s == pytest.approx(0.2)
    emulated.begin_window()
    clock.sleep(0.19)
    with pytest.raises(WindowTooShortError, match="too short"):
        emulated.end_window()
    with pytest.raises(SensorReadError, match="begin one"):
        emulated.end_window()
