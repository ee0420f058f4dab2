"""Readings that fail, cannot be or never move: what a window makes of them."""

from __future__ import annotations

import errno
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import (
    ImplausibleReadingError,
    PermissionDeniedError,
    SensorReadError,
    UnsupportedError,
)
from hw.sensors.energy_meter import EnergyMeter, sampled_energy
from hw.sensors.sampler import Sample
from tests.hw.fake.clock import FakeClock
from tests.hw.test_energy import Counter, Rail, energy_threads, meter_of


class ScriptedRail(Rail):
    """A rail that draws 2 W for ever and gives what the script says, an error or a power."""

    def __init__(self, clock, script, name="rail", period_s=1e-3):
        super().__init__(clock, period_s=period_s)
        self.name, self._script = name, list(script)

    def read_w(self):
        answer = self._script.pop(0) if self._script else 2.0
        watts = super().read_w() if answer is None else answer
        if isinstance(watts, Exception):
            super().read_w()
            raise watts
        return watts


FAILURES = [
    SensorReadError("EIO"),
    ImplausibleReadingError("-5 W"),
    UnsupportedError("ENODEV"),
    PermissionDeniedError("EACCES"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_failed_reading_is_dropped_counted_and_admitted(clock, failure):
    rail = Rail(clock)
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    rail.wait_for_readings(5)
    rail.fails_with = failure
    rail.wait_for_readings(1)
    rail.fails_with = None
    rail.wait_for_readings(8)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(2.0 * reading.duration_s)
    assert reading.n_failed >= 1
    assert reading.n_samples + reading.n_failed == rail.n_read
    assert reading.uncertainty_j >= 2.0  # a second of 2 W at least, of which nobody knows


def check_gap(samples, exact_j, highest_w):
    start_s, end_s = samples[0].at_s, samples[-1].at_s
    sensor = Rail(FakeClock(), period_s=0.0)
    energy_j, error_j = sampled_energy(sensor, samples, start_s, end_s, highest_w)
    assert abs(energy_j - exact_j) <= error_j + 1e-9
    return error_j


NONE = float("nan")


@pytest.mark.parametrize("drawn_w", [0.0, 2.0, 7.0])
def test_what_was_drawn_while_a_reading_failed_is_within_the_error(drawn_w):
    samples = [Sample(t, t, 2.0) for t in (0.0, 1.0)]
    samples += [Sample(t, t, NONE) for t in (2.0, 3.0)] + [Sample(t, t, 2.0) for t in (4.0, 5.0)]
    error_j = check_gap(samples, 2.0 * 2 + drawn_w * 3.0, highest_w=7.0)
    assert error_j == pytest.approx(15.0)
    samples[2:4] = [Sample(t, t, 2.0) for t in (2.0, 3.0)]
    assert check_gap(samples, 10.0, highest_w=7.0) == pytest.approx(0.0)


@given(data=st.data())
def test_error_covers_every_course_between_nothing_and_the_highest(data):
    """Readings fail at random, at both ends as well; the rail draws as it likes meanwhile."""
    steps = data.draw(st.lists(st.floats(0, 20), min_size=3, max_size=30))
    alive = data.draw(st.lists(st.booleans(), min_size=len(steps) + 1, max_size=len(steps) + 1))
    alive[data.draw(st.integers(0, len(steps)))] = True
    ends_w = [data.draw(st.floats(0, 20)) for _ in alive]
    samples = [
        Sample(t, t, w if ok else NONE) for t, (w, ok) in enumerate(zip(ends_w, alive, strict=True))
    ]
    exact_j = 0.0
    for number, wild_w in enumerate(steps):
        known = alive[number] and alive[number + 1]
        exact_j += sum(ends_w[number : number + 2]) / 2 if known else wild_w
    check_gap(samples, exact_j, highest_w=20.0)


def test_gap_admits_what_the_rail_has_drawn_in_an_earlier_window(clock):
    now_w = [9.0]
    rail = Rail(clock, power=lambda _: now_w[0])
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    clock.sleep(1.0)
    meter.end()
    now_w[0] = 2.0
    meter.begin()
    rail.wait_for_readings(5)
    rail.fails_with = SensorReadError("EIO")
    rail.wait_for_readings(1)
    rail.fails_with = None
    rail.wait_for_readings(8)
    assert meter.end().uncertainty_j >= 7.0


def test_window_begins_although_its_first_reading_fails(clock):
    rail = Rail(clock)
    rail.fails_with = SensorReadError("gone")
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    rail.fails_with = None
    rail.wait_for_readings(20)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(2.0 * reading.duration_s)
    assert reading.n_failed >= 1


def test_rail_of_the_total_that_is_silent_for_most_of_a_window_is_named_with_the_reason(clock):
    rails = {"VDD_IN": ScriptedRail(clock, [2.0] + [SensorReadError("EREMOTEIO")] * 10_000)}
    meter = meter_of(clock, rails, total=["VDD_IN"])
    meter.begin()
    rails["VDD_IN"].wait_for_readings(10)
    with pytest.raises(SensorReadError, match=r"rail VDD_IN gave too few readings .*EREMOTEIO"):
        meter.end()
    assert energy_threads() == []


def test_rail_outside_the_total_that_fails_is_left_out_and_harms_nothing(clock):
    rails = {
        "rail": Rail(clock),
        "VDD_SOC": ScriptedRail(clock, [SensorReadError("EREMOTEIO")] * 10_000),
    }
    counters = {"core": FailingCounter(clock, fails=10_000)}
    meter = meter_of(clock, rails, counters)
    meter.begin()
    rails["rail"].wait_for_readings(5)
    reading = meter.end()
    assert reading.mean_w == {"rail": 2.0}
    assert reading.n_failed > 5


class FailingCounter(Counter):
    """A counter that fails some times first."""

    def __init__(self, clock, fails):
        super().__init__(clock, 10.0)
        self._fails = fails

    def read_j(self):
        if self._fails:
            self._fails -= 1
            raise SensorReadError("energy_uj: EIO")
        return super().read_j()


def test_counter_is_asked_again_at_once(clock):
    meter = meter_of(clock, counters={"package-0": FailingCounter(clock, 2)}, total=["package-0"])
    meter.begin()
    clock.sleep(3.0)
    reading = meter.end()
    assert (reading.energy_j, reading.n_failed) == (pytest.approx(30.0), 2)


def test_counter_that_fails_at_one_end_fails_this_window_and_not_the_next(clock):
    meter = meter_of(clock, counters={"package-0": FailingCounter(clock, 3)}, total=["package-0"])
    meter.begin()
    clock.sleep(3.0)
    with pytest.raises(SensorReadError, match=r"rail package-0 gave too few .*energy_uj: EIO"):
        meter.end()
    meter.begin()
    clock.sleep(3.0)
    assert meter.end().energy_j == pytest.approx(30.0)


@pytest.mark.parametrize("kind", ["sensor", "counter"])
def test_running_machine_that_draws_nothing_is_refused(clock, kind):
    sensors = {"rail": Rail(clock, lambda _: 0.0)} if kind == "sensor" else {}
    counters = {"rail": Counter(clock, 0.0)} if kind == "counter" else {}
    meter = meter_of(clock, sensors, counters)
    meter.begin()
    clock.sleep(3.0)
    with pytest.raises(ImplausibleReadingError, match=r"rail showed 0 W for .*hw\.doctor"):
        meter.end()


def test_charged_battery_may_give_nothing(clock):
    rails = {"battery.BAT0": Rail(clock, lambda _: 0.0)}
    meter = EnergyMeter(rails, {}, ["battery.BAT0"], may_be_zero=True, clock=clock)
    meter.begin()
    clock.sleep(3.0)
    assert meter.end().energy_j == 0.0


@pytest.mark.parametrize("leap_j", [-3.0, 1e6])
def test_counter_that_starts_anew_fails_this_window(clock, leap_j):
    """NVML counts since its driver was loaded."""
    counter = Counter(clock, 10.0)
    meter = meter_of(clock, counters={"nvidia0": counter}, total=["nvidia0"])
    meter.begin()
    clock.sleep(1.0)
    counter.read_j = lambda: 10.0 * clock.now_s + leap_j - 10.0
    with pytest.raises(SensorReadError, match=r"rail nvidia0 .* which cannot be"):
        meter.end()


def test_rail_that_never_moves_is_told_once_and_so_is_its_moving(clock, caplog):
    now_w = [2.0]
    rail = Rail(clock, power=lambda _: now_w[0])
    meter = meter_of(clock, {"rail": rail})
    for _ in range(4):
        meter.begin()
        clock.sleep(250.0)
        meter.end()
    (told,) = [r.message for r in caplog.records]
    assert "rail rail has shown exactly 2.000 W for" in told
    now_w[0] = 2.5
    meter.begin()
    clock.sleep(1.0)
    meter.end()
    assert caplog.records[-1].message == "rail rail moves again: 2.500 W"


BOARDS_WITH_A_MONITOR = ["jetson-nano", "jetson-orin-nano", "jetson-thor", "rk3588"]


@pytest.mark.parametrize("name", BOARDS_WITH_A_MONITOR)
def test_bus_that_fails_now_and_then_costs_no_window(machine, open_linux, name):
    """Every eleventh reading of a monitor fails, of whatever rail, as I2C does in the field."""
    sysfs = machine(name)
    board, kernel = open_linux(sysfs, sample_period_s=0.001), sysfs.kernel
    accesses: list[str] = []

    def fail_now_and_then(operation, path):
        if operation == "read" and ("hwmon" in path or "iio:device" in path):
            accesses.append(path)
            if len(accesses) % 11 == 0:
                raise OSError(errno.EREMOTEIO, os.strerror(errno.EREMOTEIO), path)

    kernel.tick_s = 0.002
    kernel.before_access = fail_now_and_then
    n_failed = 0
    for _ in range(4):
        board.begin_window()
        enough = len(accesses) + 90
        assert wait_until(lambda n=enough: len(accesses) >= n)
        reading = board.end_window()
        n_failed += reading.n_failed
        assert reading.energy_j > 0.0
        assert reading.uncertainty_j > 0.0
    assert n_failed >= 4


def wait_until(is_so):
    """Give the meter's thread time."""
    for _ in range(2000):
        if is_so():
            return True
        time.sleep(0.005)
    return False
