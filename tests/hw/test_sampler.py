"""A sensor that hangs, in real time."""

from __future__ import annotations

import threading
import time

import pytest

from hw.energy import EnergyMeter
from hw.errors import SensorReadError
from hw.sampler import PATIENCE_S


class Rail:
    """Shows 2 W, and blocks while it hangs."""

    name, step_w, period_s = "VDD_IN", 0.01, 0.001

    def __init__(self):
        self.answers = threading.Event()
        self.answers.set()

    def read_w(self):
        assert self.answers.wait(30.0)
        return 2.0


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
