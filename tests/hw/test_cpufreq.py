from __future__ import annotations

import errno

import pytest

from hw.cpufreq import CpufreqLimits, cpufreq_domains
from hw.errors import FrequencyRejectedError, SensorReadError, UnsupportedError
from tests.hw.fakes import TABLE_KHZ

POLICY0 = "sys/devices/system/cpu/cpufreq/policy0"


@pytest.fixture
def domain(sysfs):
    return cpufreq_domains(sysfs.add_policy())["cpu"]


def test_table_is_ascending_in_hz(domain):
    assert domain.available_hz == tuple(khz * 1000 for khz in TABLE_KHZ)


def test_one_policy_is_cpu_and_several_carry_their_number(sysfs):
    assert list(cpufreq_domains(sysfs.add_policy(0))) == ["cpu"]
    assert list(cpufreq_domains(sysfs.add_policy(4))) == ["cpu0", "cpu4"]


def test_no_policy_means_no_domain(sysfs):
    assert cpufreq_domains(sysfs) == {}


def test_pinning_sets_both_limits_up_and_down(domain):
    for hz in (600_000_000, 1_500_000_000, 800_000_000, 1_000_000_000):
        assert domain.pin(hz) == hz
        assert domain.read_limits() == CpufreqLimits(hz // 1000, hz // 1000)
        assert domain.read_hz() == hz


def test_raising_writes_the_maximum_first_and_lowering_the_minimum(sysfs, domain):
    domain.pin(600_000_000)
    sysfs.writes.clear()
    domain.pin(1_500_000_000)
    domain.pin(800_000_000)
    assert [file for file, _ in sysfs.writes] == [
        "scaling_max_freq",
        "scaling_min_freq",
        "scaling_min_freq",
        "scaling_max_freq",
    ]


@pytest.mark.parametrize(
    ("wanted_hz", "pinned_hz"),
    [(1, 600_000_000), (850_000_000, 800_000_000), (9_000_000_000, 1_500_000_000)],
)
def test_requests_off_the_table_snap_to_the_nearest_point(domain, wanted_hz, pinned_hz):
    assert domain.pin(wanted_hz) == pinned_hz


def test_thermal_cap_is_noticed_in_the_read_back(sysfs, domain):
    sysfs.cap_khz = 800_000
    with pytest.raises(FrequencyRejectedError, match=r"1500000 kHz.*800000 kHz.*thermal cap"):
        domain.pin(1_500_000_000)


def test_refused_write_is_an_error(sysfs, domain):
    sysfs.fails[f"{POLICY0}/scaling_max_freq"] = errno.EINVAL
    with pytest.raises((FrequencyRejectedError, SensorReadError), match="scaling_max_freq"):
        domain.pin(600_000_000)


def test_limits_are_restored_after_any_pin(sysfs, domain):
    limits = CpufreqLimits(800_000, 1_000_000)
    for hz in domain.available_hz:
        domain.pin(hz)
        domain.restore_limits(limits)
        assert domain.read_limits() == limits


def test_restoring_under_a_cap_is_an_error(sysfs, domain):
    saved = domain.read_limits()
    domain.pin(600_000_000)
    sysfs.cap_khz = 800_000
    with pytest.raises(FrequencyRejectedError, match="by hand"):
        domain.restore_limits(saved)


def test_driver_without_a_table_gets_a_grid_between_its_limits(sysfs):
    sysfs.add_policy(table_khz=None, limits_khz=(800_000, 4_300_000))
    domain = cpufreq_domains(sysfs)["cpu"]
    assert domain.available_hz[0] == 800_000_000
    assert domain.available_hz[-1] == 4_300_000_000
    assert len(domain.available_hz) == 8
    assert domain.pin(1_300_000_000) == 1_300_000_000


@pytest.mark.parametrize(("text", "error"), [("", UnsupportedError), ("a b", SensorReadError)])
def test_broken_table_is_an_error(sysfs, text, error):
    sysfs.add_policy().add({f"{POLICY0}/scaling_available_frequencies": text})
    with pytest.raises(error, match="scaling_available_frequencies"):
        cpufreq_domains(sysfs)
