from __future__ import annotations

import threading

import pytest

from hw.energy import EnergySampler
from hw.errors import SensorReadError

BOUND_S = 5.0


class Rail:
    """A rail whose n-th reading is n watts; fails from a given reading on."""

    def __init__(self, fails_from: int = 10**9) -> None:
        self.n_read = 0
        self.failed = threading.Event()
        self.enough = threading.Event()
        self._fails_from = fails_from

    def read_w(self) -> float:
        if self.n_read >= self._fails_from:
            self.failed.set()
            raise SensorReadError("rail VDD_IN is gone; check the cable")
        self.n_read += 1
        if self.n_read >= 5:
            self.enough.set()
        return float(self.n_read)


def ticking():
    """A clock that shows 0, 1, 2, ... s."""
    ticks = iter(range(10**9))
    return lambda: float(next(ticks))


def test_ramp_is_integrated_by_trapezoids():
    rail = Rail()
    sampler = EnergySampler({"VDD_IN": rail}, period_s=0.001, clock=ticking())
    sampler.start()
    assert rail.enough.wait(BOUND_S)
    reading = sampler.stop()
    n = reading.n_samples
    assert n >= 6
    assert reading.duration_s == n - 1
    assert reading.energy_j == pytest.approx((n - 1) * (1 + n) / 2)
    assert reading.mean_w["VDD_IN"] == pytest.approx((1 + n) / 2)


def test_input_rail_is_the_total_where_there_is_one():
    sampler = EnergySampler({"VDD_SOC": Rail(), "VDD_IN": Rail()}, period_s=60, clock=ticking())
    sampler.start()
    assert sampler.stop().energy_j == pytest.approx(1.5)


def test_rails_are_summed_where_none_is_the_total():
    sampler = EnergySampler({"cpu": Rail(), "gpu": Rail()}, period_s=60, clock=ticking())
    sampler.start()
    assert sampler.stop().energy_j == pytest.approx(3.0)


def test_failure_of_the_thread_reaches_the_reader():
    rail = Rail(fails_from=3)
    sampler = EnergySampler({"VDD_IN": rail}, period_s=0.001)
    sampler.start()
    assert rail.failed.wait(BOUND_S)
    with pytest.raises(SensorReadError, match="check the cable"):
        sampler.stop()


def test_window_of_no_length_has_the_last_power():
    sampler = EnergySampler({"VDD_IN": Rail()}, period_s=60, clock=lambda: 3.0)
    sampler.start()
    reading = sampler.stop()
    assert (reading.energy_j, reading.mean_w) == (0.0, {"VDD_IN": 2.0})
