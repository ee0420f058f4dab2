"""A sensor that hangs, in real time."""

from __future__ import annotations

import threading
import time

import pytest

from hw.errors import SensorReadError, UnreadWindowError
from hw.sensors import sampler
from hw.sensors.energy_meter import EnergyMeter, longest_gap_s, sampled_energy
from hw.sensors.sampler import PATIENCE_S, Sample


class Rail:
    """Shows 2 W, and blocks while it hangs."""

    name, step_w, period_s = "VDD_IN", 0.01, 0.001

    def __init__(self):
        self.answers = threading.Event()
        self.answers.set()

    def read_w(self):
        assert self.answers.wait(30.0)
        return 2.0


STILL_S = sampler.STILL_S


@pytest.fixture(autouse=True)
def still(_patience, monkeypatch):
    """As a board has it."""
    monkeypatch.setattr(sampler, "STILL_S", STILL_S)


@pytest.fixture
def rail():
    rail = Rail()
    yield rail
    rail.answers.set()  # lets the thread end


@pytest.fixture
def meter(rail):
    return EnergyMeter({rail.name: rail}, {}, [rail.name], sample_period_s=0.005)


def test_a_sensor_that_hangs_costs_a_moment_and_then_nothing(meter, rail):
    meter.begin()
    time.sleep(0.05)
    rail.answers.clear()
    time.sleep(0.2)
    with pytest.raises(SensorReadError, match=r"VDD_IN has not answered for 0\.\d s"):
        meter.end()
    n_threads = threading.active_count()
    began_s = time.monotonic()
    for _ in range(10):  # the next steps do not wait for it again
        meter.begin()
        time.sleep(0.01)
        with pytest.raises(SensorReadError, match="VDD_IN has not answered for"):
            meter.end()
    assert time.monotonic() - began_s < 2 * PATIENCE_S
    assert threading.active_count() == n_threads


def test_a_sensor_that_answers_again_is_measured_again(meter, rail):
    rail.answers.clear()
    meter.begin()
    with pytest.raises(SensorReadError):
        meter.end()
    rail.answers.set()
    deadline_s = time.monotonic() + 10.0
    while True:
        meter.begin()
        time.sleep(0.1)
        try:
            energy = meter.end()
            break
        except SensorReadError:
            assert time.monotonic() < deadline_s
    assert energy.energy_j / energy.duration_s == pytest.approx(2.0)


def test_a_short_hang_at_the_end_is_admitted(meter, rail):
    meter.begin()
    time.sleep(0.3)
    rail.answers.clear()
    time.sleep(0.05)
    energy = meter.end()
    assert energy.n_failed >= 1
    assert energy.energy_j / energy.duration_s == pytest.approx(2.0)
    assert energy.uncertainty_j > 0.02 * 2.0


class SlowRail(Rail):
    """Shows 5 W, and stands still once for a time, as a process that gets no turn does."""

    def __init__(self, stands_s):
        super().__init__()
        self._stands_s, self._due_s = stands_s, time.monotonic() + 0.1

    def read_w(self):
        if time.monotonic() > self._due_s:
            self._due_s = float("inf")
            time.sleep(self._stands_s)
        return 5.0


def window_of(rail, seconds):
    return window_with(EnergyMeter({rail.name: rail}, {}, [rail.name]), seconds)


def test_a_time_without_readings_is_admitted_though_none_failed():
    energy = window_of(SlowRail(0.5), 2.0)
    assert energy.uncertainty_j >= 0.5 * 5.0


def test_most_of_a_window_without_readings_is_an_error_that_tells_how_long():
    with pytest.raises(UnreadWindowError, match=r"VDD_IN gave too few .*none for [\d.]+ s;"):
        window_of(SlowRail(1.0), 1.4)


@pytest.mark.parametrize("is_late", [False, True])
def test_anything_may_have_been_drawn_before_a_late_reading(is_late):
    samples = [Sample(0.0, 0.0, 2.0), Sample(2.0, 2.0, 2.0, is_late), Sample(3.0, 3.0, 2.0)]
    _, error_j = sampled_energy(Rail(), samples, 0.0, 3.0, highest_w=20.0)
    step_j = 3.0 * Rail.step_w / 2
    assert error_j == pytest.approx(step_j + (36.0 if is_late else 0.0))
    assert longest_gap_s(samples, 0.0, 3.0) == (2.0 if is_late else 0.0)


def test_a_thread_that_cannot_be_started_costs_one_window(meter, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        meter.begin()
        time.sleep(0.05)
        with pytest.raises(SensorReadError, match=r"VDD_IN gave too few .*can't start new thread"):
            meter.end()
        meter.begin()
        meter.cancel()
    energy = undisturbed_window(meter)
    assert energy.energy_j / energy.duration_s == pytest.approx(2.0)


def undisturbed_window(meter):
    """One in which the machine did not stand still for half of it."""
    for _ in range(10):
        try:
            return window_with(meter, 0.1)
        except UnreadWindowError as error:
            last = error
    raise last


def test_a_counter_needs_no_thread(monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    class Counter:
        step_j, period_s = 0.001, 0.001

        def read_j(self):
            return time.monotonic()

    monkeypatch.setattr(threading.Thread, "start", start)
    meter = EnergyMeter({"core": Rail()}, {"package-0": Counter()}, ["package-0"])
    assert window_with(meter, 0.05).energy_j > 0.0


def window_with(meter, seconds):
    meter.begin()
    time.sleep(seconds)
    return meter.end()
