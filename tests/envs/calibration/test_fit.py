"""The fit to an invented board whose power has another form, with noise, drift and a wrong gain."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting, fit_board
from envs.calibration.fitting.misfits import misfits
from envs.calibration.samples import NETWORK, Kind
from envs.errors import CalibrationError
from tests.envs.calibration import invented
from tests.envs.calibration.invented import CANDIDATES, CPU_HZ, GPU_HZ, OPTIONS

SETTING = Setting(("cpu", "gpu"), "gpu")
CLOCKS = {"cpu": CPU_HZ, "gpu": GPU_HZ}
N_FITS = 12


def judged(samples, n_refits=4):
    return Confidence.of(Measured.of(samples, OPTIONS), SETTING, n_refits=n_refits)


@pytest.fixture(scope="module")
def fits():
    return [judged(invented.samples(seed, 120), 8) for seed in range(N_FITS)]


def test_latency_is_found_where_it_was_not_fitted(fits):
    for fit in fits:
        assert fit.latency.mean <= 0.05
        assert fit.latency.largest <= 0.12
        low, high = fit.latency.interval()
        assert low < fit.latency.mean < high
        truth_s = invented.latency_s(CANDIDATES)
        assert np.abs(fit.fit.latency_s(CANDIDATES) / truth_s - 1.0).max() <= 0.03


def test_energy_is_that_of_the_board_without_noise(fits):
    errors, covered = [], []
    for seed, fit in enumerate(fits):
        truth_j = invented.latency_s(CANDIDATES) * invented.power_w(
            CANDIDATES, invented.uneven(seed)
        )
        errors.append(np.mean(np.abs(fit.fit.energy_j(CANDIDATES) / truth_j - 1.0)))
        low_j, high_j = fit.energy_interval_j(CANDIDATES)
        covered.append(np.mean((low_j <= truth_j) & (truth_j <= high_j)))
    assert np.mean(errors) <= 0.05
    assert np.mean(covered) >= 0.9


def test_what_the_processor_does_beside_the_network_is_found(fits):
    cycles = np.mean(
        [(f.fit.host.cpu_cycles_per_request, f.fit.host.cpu_cycles_per_byte) for f in fits], axis=0
    )
    np.testing.assert_allclose(cycles, (2e-3 * CPU_HZ[-1], 2e-8 * CPU_HZ[-1]), rtol=0.05)


def test_drift_is_told_from_the_form(fits):
    for fit in fits:
        assert 0.05 < fit.fit.power_drift.range < 0.16  # a sine of 5 %
        assert fit.fit.latency_drift.range < 0.03


def test_a_good_fit_is_not_complained_about(fits):
    samples = invented.samples(0, 120)
    found = list(misfits(fits[0], Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert not [sentence for sentence in found if "clock" in sentence]


def test_a_clock_that_changes_nothing_is_named():
    def at_top(done):
        return np.where(done.is_of(Kind.HOST), done.rows.cpu_hz / CPU_HZ[-1], 1.0)

    samples = [replace_power(sample, 2.0) for sample in invented.samples(1, 120, at_top)]
    found = list(misfits(judged(samples), Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert any(s.startswith("the cpu clock changes neither") for s in found), found
    assert not any(s.startswith("the gpu clock changes neither") for s in found)


def replace_power(sample, watt):
    """The same at a power that nothing changes."""
    return structs.replace(sample, power_w=watt)


def test_a_step_that_is_not_monotone_is_named():
    def slower(done):
        return np.where(done.is_of(*NETWORK) & (done.rows.gpu_hz == GPU_HZ[-1]), 1.4, 1.0)

    samples = invented.samples(2, 200, slower)
    found = list(misfits(judged(samples), Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert any("from 1100 to 1300 MHz of the gpu clock latency rises" in s for s in found), found


def test_a_machine_that_is_disturbed_is_named():
    samples = [
        structs.replace(s, latency_s=1.3 * s.latency_s) if s.is_control and s.began_s > 200 else s
        for s in invented.samples(2, 120)
    ]
    found = list(misfits(judged(samples), Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert any("the same piece at the same clocks took from" in s for s in found), found


def test_units_that_are_switched_off_are_named():
    def slower(done):
        return np.where(done.is_of(*NETWORK) & (done.rows.gpu_hz < GPU_HZ[2]), 2.0, 1.0)

    samples = invented.samples(3, 200, slower)
    found = list(misfits(judged(samples), Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert any("500 to 700 MHz of the gpu clock latency falls by" in s for s in found), found
    assert any("latency is off by" in s for s in found)


def test_a_clock_that_something_else_holds_is_named():
    samples = [
        structs.replace(s, applied_hz={**s.applied_hz, "gpu": min(s.applied_hz["gpu"], GPU_HZ[4])})
        for s in invented.samples(4, 120)
    ]
    found = list(misfits(judged(samples), Measured.of(samples, OPTIONS), samples, CLOCKS))
    assert any("the gpu clock was not what was asked for" in s for s in found), found


def test_a_machine_without_clocks_is_described_by_its_routes():
    fixed = {"cpu": 1e9, "gpu": 1e9}
    samples = [
        structs.replace(s, applied_hz=fixed, requested_hz=fixed)
        for s in invented.samples(6, 120)
        if s.applied_hz == {"cpu": CPU_HZ[2], "gpu": GPU_HZ[3]} or s.kind is Kind.IDLE
    ]
    found = fit_board(Measured.of(samples, OPTIONS), Setting((), "gpu"))
    assert found.network.fixed_s_per_kernel == 0.0
    assert found.network.gpu_cycles_per_kernel > 0.0
    assert found.power is not None


def test_too_few_samples_are_refused():
    measured = Measured.of(invented.samples(7, 8), OPTIONS)
    with pytest.raises(CalibrationError, match=r"too few .* give more --minutes"):
        fit_board(measured, SETTING)
