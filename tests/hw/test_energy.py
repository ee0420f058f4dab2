"""Energy of a window: trapezoids, counters, and the error that is admitted."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import SensorReadError, WindowTooShortError
from hw.sensors.energy_meter import EnergyMeter, sampled_energy
from hw.sensors.sampler import Sample
from tests.hw.fake.clock import FakeClock

BOUND_S = 5.0
SAMPLE_PERIOD_S = 0.001


class Rail:
    """A rail that shows `power(time)`; each reading takes its time on the clock."""

    def __init__(self, clock, power=lambda now_s: 2.0, step_w=0.0, period_s=1e-3):
        self.name = "rail"
        self.step_w, self.period_s = step_w, period_s
        self.fails_with = None
        self.n_read = 0
        self._read_again = threading.Condition()
        self._clock, self._power = clock, power

    def read_w(self):
        with self._read_again:
            self.n_read += 1
            self._read_again.notify_all()
        if self.fails_with is not None:
            raise self.fails_with
        self._clock.now_s += 1.0
        return self._power(self._clock.now_s)

    def wait_for_readings(self, count):
        with self._read_again:
            target = self.n_read + count
            assert self._read_again.wait_for(lambda: self.n_read >= target, BOUND_S)


class Counter:
    """A counter of constant power."""

    period_s = 0.1

    def __init__(self, clock, watts, step_j=0.001):
        self.name, self.step_j = "counter", step_j
        self._clock, self._watts = clock, watts

    def read_j(self):
        return self._watts * self._clock.now_s


def meter_of(clock, sensors=None, counters=None, total=("rail",)):
    return EnergyMeter(
        sensors or {}, counters or {}, total, sample_period_s=SAMPLE_PERIOD_S, clock=clock
    )


def energy_threads():
    return [thread for thread in threading.enumerate() if thread.name == "energy"]


def test_ramp_is_integrated_exactly_between_begin_and_end(clock):
    rail = Rail(clock, power=lambda now_s: now_s)
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    start_s = clock.now_s
    rail.wait_for_readings(6)
    reading = meter.end()
    end_s = start_s + reading.duration_s
    assert reading.duration_s >= 5
    assert reading.n_samples >= reading.duration_s
    assert reading.energy_j == pytest.approx((end_s**2 - start_s**2) / 2)
    assert reading.mean_w == {"rail": pytest.approx((start_s + end_s) / 2)}


def test_what_is_drawn_before_and_after_the_window_is_not_in_it(clock):
    """The readings at both ends take seconds here, at a hundred times the power."""
    busy = []
    rail = Rail(clock, power=lambda now_s: 1.0 if busy else 100.0)
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    busy.append(True)
    rail.wait_for_readings(50)
    reading = meter.end()
    assert reading.duration_s <= rail.n_read
    # One trapezoid leads down from 100 W.
    assert reading.energy_j - reading.duration_s == pytest.approx(99 / 2)
    assert reading.uncertainty_j >= 99 / 2


def test_counters_are_read_at_both_ends_and_admit_their_period(clock):
    meter = meter_of(clock, counters={"package-0": Counter(clock, 10.0)}, total=["package-0"])
    meter.begin()
    clock.sleep(3.0)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(30.0)
    assert reading.uncertainty_j == pytest.approx(0.001 + 10.0 * Counter.period_s)
    assert (reading.n_samples, reading.duration_s) == (0, 3.0)


def test_only_rails_of_the_total_are_added_and_all_are_told(clock):
    rails = {name: Rail(clock, lambda _, w=w: w) for name, w in (("a", 1.0), ("b", 2.0))}
    meter = meter_of(clock, rails, {"c": Counter(clock, 4.0)}, total=["b", "c"])
    meter.begin()
    clock.sleep(1.0)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(6.0 * reading.duration_s)
    assert reading.mean_w == {"a": 1.0, "b": 2.0, "c": pytest.approx(4.0)}


def test_counter_that_disagrees_with_polled_power_admits_the_difference(clock):
    """187 J counted and 327 J polled have been seen (ml-energy/zeus #181)."""
    sensors = {"nvidia0.power": Rail(clock, lambda _: 65.4)}
    meter = meter_of(clock, sensors, {"nvidia0": Counter(clock, 37.4)}, total=["nvidia0"])
    meter.begin()
    clock.sleep(5.0)
    reading = meter.end()
    assert reading.energy_j == pytest.approx(37.4 * reading.duration_s)
    assert reading.uncertainty_j == pytest.approx(28.0 * reading.duration_s)


@pytest.mark.parametrize("kind", ["sensor", "counter"])
def test_window_has_to_span_two_new_readings_of_the_total(clock, kind):
    slow = {"sensor": Rail(clock, period_s=20.0)}
    counters = {"counter": Counter(clock, 1.0)}
    meter = meter_of(clock, slow, counters, total=[kind])
    assert meter.shortest_window_s == {"sensor": 40.0, "counter": 0.2}[kind]
    meter.begin()
    with pytest.raises(WindowTooShortError, match=r"too short.*measure longer"):
        meter.end()
    assert energy_threads() == []


def test_fault_of_a_sensors_program_is_a_failed_reading_with_its_kind(clock):
    rail = Rail(clock)
    rail.fails_with = KeyError("VDD_IN")
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    clock.sleep(1.0)
    with pytest.raises(SensorReadError, match=r"rail gave too few .*KeyError: 'VDD_IN'"):
        meter.end()
    rail.fails_with = None
    meter.begin()
    rail.wait_for_readings(3)
    assert meter.end().mean_w == {"rail": pytest.approx(2.0)}


def test_cancelled_and_begun_again_windows_leave_no_thread(clock):
    rail = Rail(clock)
    meter = meter_of(clock, {"rail": rail})
    meter.begin()
    rail.wait_for_readings(3)
    meter.begin()
    assert len(energy_threads()) == 1
    rail.wait_for_readings(3)
    assert meter.end().energy_j <= 2.0 * rail.n_read
    meter.begin()
    meter.cancel()
    meter.cancel()
    assert energy_threads() == []


# What is admitted


def exact_j(levels, start_s, end_s):
    """Energy of (start, W) steps, of which the last lasts for ever."""
    ends_s = [at_s for at_s, _ in levels[1:]] + [float("inf")]
    return sum(
        watts * max(0.0, min(stop_s, end_s) - max(at_s, start_s))
        for (at_s, watts), stop_s in zip(levels, ends_s, strict=True)
    )


@st.composite
def measured_windows(draw):
    """A rail in steps, each long enough to be seen, read late and coarsely by a slow sensor."""
    period_s = draw(st.sampled_from([0.002, 0.0066, 0.1, 1.0]))
    step_w = draw(st.sampled_from([0.001, 0.04, 0.4]))
    gaps_s = draw(st.lists(st.floats(0.02, 0.1), min_size=2, max_size=60))
    shortest_s = 2 * max(gaps_s) + 2 * period_s
    levels, at_s, end_s = [(-10.0, draw(st.floats(0, 30)))], 0.0, sum(gaps_s)
    while (at_s := at_s + shortest_s * draw(st.floats(1, 4))) < end_s - shortest_s:
        levels.append((at_s, draw(st.floats(0, 30))))
    if draw(st.booleans()):  # the load returns to what it was, too late to be seen
        levels.append((end_s - draw(st.floats(0, period_s)), draw(st.sampled_from(levels))[1]))
    samples, now_s = [], 0.0
    for gap_s in (0.0, *gaps_s):
        now_s += gap_s
        at_s = now_s + draw(st.floats(0, 0.015))  # until the answer
        shown_s = draw(st.floats(now_s - period_s, at_s))
        watts = next(w for level_s, w in reversed(levels) if level_s <= shown_s)
        samples.append(Sample(now_s, at_s, round(watts / step_w) * step_w))
    sensor = Rail(FakeClock(), step_w=step_w, period_s=period_s)
    return sensor, samples, levels


@given(measured=measured_windows())
def test_error_is_never_larger_than_admitted(measured):
    sensor, samples, levels = measured
    start_s, end_s = samples[0].at_s, samples[-1].begun_s
    energy_j, error_j = sampled_energy(sensor, samples, start_s, end_s)
    assert abs(energy_j - exact_j(levels, start_s, end_s)) <= error_j + 1e-9


def test_steady_power_admits_half_a_step_and_no_more(clock):
    sensor = Rail(clock, step_w=0.04, period_s=0.0066)
    samples = [Sample(at_s, at_s, 4.88) for at_s in (0.0, 1.0, 2.0)]
    energy_j, error_j = sampled_energy(sensor, samples, 0.5, 1.5)
    assert energy_j == pytest.approx(4.88)
    assert error_j == pytest.approx(0.02)


def test_slower_sensor_admits_more_around_a_step_of_the_load(clock):
    samples = [Sample(n / 10, n / 10, 1.0 if n < 50 else 5.0) for n in range(101)]
    quick, slow = (
        sampled_energy(Rail(clock, period_s=s), samples, 0.0, 10.0)[1] for s in (0.01, 1.0)
    )
    assert 0.1 < quick < 2.0 < slow < 9.0
