from __future__ import annotations

import numpy as np
import pytest
from msgspec import structs

from hw.device.file import device_names, device_path
from hw.device.model import Demand, DeviceModel

GRID = np.linspace(0.0, 1.0, 5)


@pytest.fixture
def whole():
    return Demand(fixed_s=0.01, cpu_cycles=4e7, gpu_cycles=6e7, emc_cycles=8e7)


def axes(device):
    return device.cpu_hz[:, None, None], device.gpu_hz[None, :, None], device.emc_hz


def test_latency_is_fixed_plus_cpu_plus_the_norm_of_gpu_and_memory(tx2, whole):
    latency_s = tx2.latency_s(whole, 2e9, 1e9, 0.8e9)
    assert float(latency_s) == pytest.approx(0.01 + 0.02 + np.hypot(0.06, 0.1))


def test_overlap_norm_is_the_exponent(tx2):
    demand = Demand(0.0, 0.0, 3e9, 4e9, overlap_norm=1.0)
    assert float(tx2.latency_s(demand, 1e9, 1e9, 1e9)) == pytest.approx(7.0)
    demand = Demand(0.0, 0.0, 3e9, 4e9, overlap_norm=3.0)
    assert float(tx2.latency_s(demand, 1e9, 1e9, 1e9)) == pytest.approx(91 ** (1 / 3))


def test_latency_falls_with_every_clock(tx2, whole):
    latency_s = tx2.latency_s(whole, *axes(tx2))
    assert latency_s.shape == (12, 13, 8)
    for axis in range(3):
        assert np.all(np.diff(latency_s, axis=axis) < 0)


def test_arrays_give_what_scalars_give(tx2, whole):
    cpu_hz, gpu_hz, emc_hz = axes(tx2)
    load = {"cpu_util": 0.3, "gpu_util": 0.6, "traffic_bytes_per_s": 3e9}
    latency_s = tx2.latency_s(whole, cpu_hz, gpu_hz, emc_hz)
    power_w = tx2.power.total_w(cpu_hz, gpu_hz, emc_hz, **load)
    point = (tx2.cpu_hz[3], tx2.gpu_hz[7], tx2.emc_hz[2])
    assert latency_s[3, 7, 2] == float(tx2.latency_s(whole, *point))
    assert power_w[3, 7, 2] == float(tx2.power.total_w(*point, **load))


def test_head_and_tail_demand_what_the_whole_does(tx2):
    sizes = np.array([[0.2e9, 10e6, 20.0], [0.6e9, 40e6, 40.0]])
    head, tail = (tx2.network.demand(*row) for row in sizes)
    whole = tx2.network.demand(*sizes.sum(axis=0))
    for name in ("fixed_s", "cpu_cycles", "gpu_cycles", "emc_cycles"):
        assert getattr(head, name) + getattr(tail, name) == pytest.approx(getattr(whole, name))


def test_small_network_takes_tens_of_milliseconds(tx2):
    """The size of EfficientNet-Lite0; modelled, so only the order of magnitude is checked."""
    demand = tx2.network.demand(0.8e9, 50e6, 60)
    top = (tx2.cpu_hz[-1], tx2.gpu_hz[-1], tx2.emc_hz[-1])
    assert 0.03 < float(tx2.latency_s(demand, *top)) < 0.06


def test_scaled_demand_is_a_share_of_the_work(whole):
    half = whole.scaled(np.array([0.5, 1.0]))
    assert half.gpu_cycles == pytest.approx([3e7, 6e7])
    assert half.fixed_s == pytest.approx([0.005, 0.01])
    assert half.overlap_norm == whole.overlap_norm


def test_total_power_is_that_of_the_rails(tx2):
    cpu_hz, gpu_hz, emc_hz = axes(tx2)
    load = {
        "cpu_util": GRID[:, None, None, None],
        "gpu_util": 1.0 - GRID[:, None, None, None],
        "traffic_bytes_per_s": 2e9,
    }
    rails = tx2.power.rails_w(cpu_hz, gpu_hz, emc_hz, **load)
    assert rails.total_w == pytest.approx(tx2.power.total_w(cpu_hz, gpu_hz, emc_hz, **load))
    sum_w = rails.gpu_w + rails.cpu_w + rails.soc_w + rails.ddr_w
    assert rails.total_w == pytest.approx(tx2.power.board_w + tx2.power.board_share * sum_w)


@pytest.mark.parametrize("util", [0.0, 0.5, 1.0])
def test_power_rises_with_every_clock_idle_or_busy(tx2, util):
    total_w = tx2.power.total_w(
        *axes(tx2), cpu_util=util, gpu_util=util, traffic_bytes_per_s=util * 5e9
    )
    for axis in range(3):
        assert np.all(np.diff(total_w, axis=axis) > 0)


def test_power_rises_with_utilisation_and_traffic(tx2):
    clocks = (tx2.cpu_hz[5], tx2.gpu_hz[:, None], tx2.emc_hz[-1])
    load = {"cpu_util": 0.5, "gpu_util": 0.5, "traffic_bytes_per_s": 1e9}
    for name, value in load.items():
        scaled = {**load, name: GRID * 2 * value}
        assert np.all(np.diff(tx2.power.total_w(*clocks, **scaled), axis=1) > 0)


def test_maximum_power_is_the_largest_there_is(tx2):
    busy = {"cpu_util": 1.0, "gpu_util": 1.0}
    peak = tx2.power.peak_traffic_bytes_per_s
    total_w = tx2.power.total_w(*axes(tx2), **busy, traffic_bytes_per_s=peak)
    assert tx2.max_power_w == pytest.approx(total_w.max())


def test_heat_settles_at_resistance_times_power(tx2):
    fast_c, slow_c = tx2.thermal.step(0.0, 0.0, 10.0, 1e6)
    assert float(fast_c) == pytest.approx(10 * tx2.thermal.fast_c_per_w)
    assert float(slow_c) == pytest.approx(10 * tx2.thermal.slow_c_per_w)
    expected_c = 25 + tx2.thermal.offset_c + float(fast_c) + float(slow_c)
    assert float(tx2.thermal.temperature_c(25.0, fast_c, slow_c)) == pytest.approx(expected_c)


def test_thermal_step_is_exact_for_any_length(tx2):
    nodes_c = (3.0, 5.0)
    for _ in range(10):
        nodes_c = tx2.thermal.step(*nodes_c, 8.0, 0.7)
    assert nodes_c == pytest.approx(tx2.thermal.step(3.0, 5.0, 8.0, 7.0))


def test_thermal_cap_falls_from_the_highest_to_the_lowest_clock(tx2):
    start_c, span_c = tx2.thermal.throttle_c, tx2.thermal.throttle_span_c
    temperatures_c = start_c + span_c * np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    low, high = tx2.gpu_hz[0], tx2.gpu_hz[-1]
    cap_hz = tx2.throttled_hz_cap("gpu", temperatures_c)
    assert cap_hz == pytest.approx([high, high, (low + high) / 2, low, low])


def test_power_is_shown_in_steps_of_the_sensor(tx2):
    step_w = tx2.sensor.step_w
    assert step_w == pytest.approx(0.008 * 19)
    shown_w = tx2.quantise_w(np.array([0.4, 0.6, 10.2]) * step_w)
    assert shown_w == pytest.approx(np.array([0.0, 1.0, 10.0]) * step_w)


@pytest.mark.parametrize("domain", ["cpu", "gpu", "emc"])
def test_table_index_finds_every_point_and_the_nearest(tx2, domain):
    points_hz = np.array(tx2.domains[domain].available_hz)
    assert list(tx2.table_index(domain, points_hz + 1e6)) == list(range(len(points_hz)))
    assert list(tx2.table_index(domain, np.array([0.0, 1e11]))) == [0, len(points_hz) - 1]


def test_fingerprint_tells_devices_and_tables_apart(tx2, tmp_path):
    text = device_path("tx2").read_text()
    prints = {tx2.fingerprint}
    for old, new in (('name = "tx2"', 'name = "tx3"'), ("2035200000", "2035200001")):
        path = tmp_path / "other.toml"
        path.write_text(text.replace(old, new))
        prints.add(DeviceModel.load(path).fingerprint)
    assert len(prints) == 3
    assert all(len(value) == 16 for value in prints)


@pytest.mark.parametrize("name", device_names())
def test_every_shipped_device_loads_and_says_what_it_is_validated_on(name):
    device = DeviceModel.load(name)
    assert device.name == name
    assert device.status_line.startswith(f"{name} (modelled): validated on ")
    for sentence in device.validated_on + device.modelled:
        assert sentence in device.status_line
    assert "\n" not in device.status_line


def test_device_that_was_never_validated_says_so(tx2, tmp_path):
    text = device_path("tx2").read_text()
    start = text.index("validated_on = [")
    end = text.index("]", start) + 1
    path = tmp_path / "guess.toml"
    path.write_text(text[:start] + "validated_on = []" + text[end:])
    assert "validated on nothing" in DeviceModel.load(path).status_line


def test_tx2_has_the_documented_tables_and_delays(tx2):
    assert (len(tx2.cpu_hz), len(tx2.gpu_hz), len(tx2.emc_hz)) == (12, 13, 8)
    assert (tx2.cpu_hz[0], tx2.cpu_hz[-1]) == (345.6e6, 2035.2e6)
    assert (tx2.gpu_hz[0], tx2.gpu_hz[-1]) == (114.75e6, 1300.5e6)
    assert (tx2.emc_hz[0], tx2.emc_hz[-1]) == (204e6, 1866e6)
    assert [tx2.domains[name].actuation_delay_s for name in ("cpu", "gpu", "emc")] == [
        0.001,
        0.005,
        0.008,
    ]
    assert tx2.sensor.period_s == 0.0066


@pytest.mark.parametrize("term", ["fixed_s", "cpu_cycles", "gpu_cycles", "emc_cycles"])
def test_each_piece_that_is_run_has_its_own_share(tx2, term):
    network = structs.replace(tx2.network, **{f"{term}_per_piece": 3.0})
    sizes = np.array([(0.0, 0.0, 0.0), (2e8, 1e7, 20.0), (6e8, 2e7, 40.0)]).T
    more = getattr(network.demand(*sizes), term) - getattr(tx2.network.demand(*sizes), term)
    np.testing.assert_allclose(more, [0.0, 3.0, 3.0])
    assert getattr(network.times(2.0), f"{term}_per_piece") == 6.0


def test_a_busy_core_may_draw_in_proportion_to_its_clock(tx2):
    power, idle = structs.replace(tx2.power, cpu_busy_w_per_hz=1e-9), {"gpu_util": 0.0}
    load = {"traffic_bytes_per_s": 0.0, "cpu_util": 0.5, **idle}
    more_w = power.total_w(1e9, 1e9, 1e9, **load) - tx2.power.total_w(1e9, 1e9, 1e9, **load)
    assert float(more_w) == pytest.approx(0.5 * tx2.power.board_share)
    assert float(power.cpu_load_w(1e9) - tx2.power.cpu_load_w(1e9)) == pytest.approx(
        tx2.power.board_share
    )
    half = power.at_activity(0.5, on_cpu=True)
    assert half.cpu_busy_w_per_hz == 0.5e-9
