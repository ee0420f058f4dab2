from __future__ import annotations

import pytest

from hw.boards.sim import SimBoard
from hw.device.model import Demand
from hw.errors import SensorReadError, UnsupportedError, WindowTooShortError
from tests.hw.read_point import read_point

WORK = Demand(fixed_s=0.01, cpu_cycles=4e7, gpu_cycles=6e7, emc_cycles=8e7)
TOP = (2_035_200_000, 1_300_500_000, 1_866_000_000)


def latency_s(device, demand, point=TOP):
    return float(device.latency_s(demand, *point))


def test_clocks_take_effect_after_their_delays(board, clock):
    low = {name: domain.available_hz[0] for name, domain in board.domains.items()}
    high = read_point(board)
    assert board.apply(low) == low
    assert read_point(board) == high
    clock.sleep(0.0011)
    assert read_point(board) == {**high, "cpu": low["cpu"]}
    clock.sleep(0.004)
    assert read_point(board) == {**low, "emc": high["emc"]}
    clock.sleep(0.003)
    assert read_point(board) == low


def test_requests_snap_to_the_nearest_operating_point(board):
    assert board.apply({"gpu": 1, "cpu": 10**12, "emc": 1_870_000_000}) == {
        "gpu": 114_750_000,
        "cpu": TOP[0],
        "emc": TOP[2],
    }


def test_unknown_clock_is_an_error(board):
    with pytest.raises(UnsupportedError, match=r"'npu'.*cpu, gpu, emc"):
        board.apply({"npu": 1})


def test_close_requests_the_clocks_that_open_found(tx2, clock):
    board = SimBoard(tx2, clock=clock, sleep=clock.sleep)
    board.apply({"cpu": 960_000_000})
    with board:
        board.apply({"cpu": 345_600_000, "gpu": 114_750_000})
    clock.sleep(1.0)
    assert read_point(board) == {"cpu": 960_000_000, "gpu": TOP[1], "emc": TOP[2]}


def test_run_takes_the_modelled_latency_when_the_work_is_faster(board, clock, tx2):
    expected_s = latency_s(tx2, WORK)
    with board.run(WORK) as run:
        clock.sleep(0.02)
    assert clock.slept_s == pytest.approx(expected_s, abs=1e-5)
    assert run.modelled_s == pytest.approx(expected_s, abs=1e-5)


def test_run_does_not_wait_for_work_that_took_longer(board, clock, tx2):
    with board.run(WORK) as run:
        clock.sleep(2.0)
    assert clock.slept_s == 2.0
    assert run.modelled_s == pytest.approx(latency_s(tx2, WORK), abs=1e-5)


def test_work_that_this_machine_is_too_slow_for_is_counted(board, clock, tx2):
    for times in (0.5, 1.0, 1.05, 3.0):
        with board.run(WORK):
            clock.sleep(times * latency_s(tx2, WORK))
    assert board.too_slow_share == 0.25


def test_clock_change_on_the_way_counts(board, clock, tx2):
    demand = Demand(fixed_s=0.0, cpu_cycles=TOP[0] * 0.1, gpu_cycles=0.0, emc_cycles=0.0)
    with board.run(demand) as run:
        clock.sleep(0.05)
        board.apply({"cpu": 1_113_600_000})
    # Half of the work at the old clock, 1 ms of delay at it as well, the rest at the new one.
    rest_s = (0.05 - 0.001) * TOP[0] / 1_113_600_000
    assert run.modelled_s == pytest.approx(0.051 + rest_s, abs=1e-5)


def test_work_of_nothing_takes_no_time(board, clock):
    with board.run(Demand(0.0, 0.0, 0.0, 0.0)) as run:
        pass
    assert (clock.slept_s, run.modelled_s) == (0.0, 0.0)


def test_board_is_free_again_after_an_exception(board, clock):
    with pytest.raises(ZeroDivisionError), board.run(WORK):
        raise ZeroDivisionError
    assert clock.slept_s == 0.0
    with board.run(WORK):
        pass


def test_only_one_piece_of_work_at_a_time(board):
    with (
        board.run(WORK),
        pytest.raises(UnsupportedError, match="busy"),
        board.run(WORK),
    ):
        pass


def test_idle_window_is_idle_power_times_time(board, clock, tx2):
    board.begin_window()
    clock.sleep(3.0)
    reading = board.end_window()
    idle = tx2.power.rails_w(*TOP, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0)
    assert reading.duration_s == pytest.approx(3.0)
    assert reading.energy_j == pytest.approx(3.0 * float(idle.total_w))
    assert reading.mean_w == pytest.approx(
        {name.removesuffix("_w"): float(watt) for name, watt in idle._asdict().items()}
    )


def test_busy_window_integrates_busy_and_idle_power(board, clock, tx2):
    busy_s = latency_s(tx2, WORK)
    cpu_s, gpu_s = WORK.busy_s(*TOP)
    board.begin_window()
    with board.run(WORK, traffic_bytes=1e8):
        pass
    clock.sleep(1.0)
    reading = board.end_window()
    busy_w = tx2.power.total_w(
        *TOP,
        cpu_util=cpu_s / busy_s,
        gpu_util=gpu_s / busy_s,
        traffic_bytes_per_s=1e8 / busy_s,
    )
    idle_w = tx2.power.total_w(*TOP, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0)
    assert reading.energy_j == pytest.approx(float(busy_w) * busy_s + float(idle_w), rel=1e-4)


def test_measured_network_in_a_loop_draws_what_was_measured(board, clock, tx2):
    """VGG19 at 854 MHz in tx2_vgg19_rail_power.csv: 10.594 W, 84.7 ms."""
    board.apply({"cpu": 345_600_000, "gpu": 854_250_000})
    clock.sleep(0.01)
    board.begin_window()
    for _ in range(10):
        with board.run(tx2.workloads["vgg19_tensorrt"], traffic_bytes=706.4e6):
            pass
    reading = board.end_window()
    assert reading.duration_s / 10 == pytest.approx(0.0847, rel=0.01)
    assert reading.mean_w["total"] == pytest.approx(10.594, rel=0.03)


def test_window_that_was_not_begun_is_an_error(board):
    with pytest.raises(SensorReadError, match="begin one"):
        board.end_window()


def test_window_that_the_power_monitor_could_not_resolve_is_refused_as_on_a_board(board, clock):
    assert board.shortest_window_s == pytest.approx(2 * 0.0066)
    board.begin_window()
    clock.sleep(0.013)
    with pytest.raises(WindowTooShortError, match=r"13\.0 ms is too short .* 13\.2 ms"):
        board.end_window()
    board.begin_window()
    clock.sleep(0.0133)
    assert board.end_window().energy_j > 0.0


def test_sensor_shows_steps(board, tx2):
    steps = board.power_sensors["VDD_IN"].read_w() / tx2.sensor.step_w
    assert steps == pytest.approx(round(steps))
    assert steps > 1


def test_temperature_rises_with_power_and_follows_the_ambient(board, clock, tx2):
    assert board.temperature_c() == pytest.approx(25.0 + tx2.thermal.offset_c)
    clock.sleep(3000.0)
    idle_w = tx2.power.total_w(*TOP, cpu_util=0.0, gpu_util=0.0, traffic_bytes_per_s=0.0)
    rise_c = float(idle_w) * (tx2.thermal.fast_c_per_w + tx2.thermal.slow_c_per_w)
    assert board.temperature_c() == pytest.approx(25.0 + tx2.thermal.offset_c + rise_c)
    board.set_ambient(35.0)
    assert board.temperature_c() == pytest.approx(35.0 + tx2.thermal.offset_c + rise_c)


def test_a_piece_of_a_network_takes_as_long_as_the_model_says(board, clock, tx2):
    demand = tx2.network.demand(2e9, 5e6, 100)
    start_s = clock()
    with board.pace(2e9, 5e6, 100):
        clock.sleep(1e-3)
    assert clock() - start_s == pytest.approx(float(tx2.latency_s(demand, *TOP)), rel=1e-3)


def test_hot_board_is_slowed_and_recovers_its_request(board, clock):
    board.apply({"gpu": TOP[1]})
    clock.sleep(0.1)
    board.set_ambient(board.temperature_limit_c)
    throttled_hz = board.domains["gpu"].read_hz()
    assert throttled_hz < TOP[1]
    assert throttled_hz in board.domains["gpu"].available_hz
    assert board.apply({"gpu": TOP[1]})["gpu"] <= throttled_hz
    board.set_ambient(20.0)
    clock.sleep(0.1)
    assert board.domains["gpu"].read_hz() == TOP[1]


def test_limits_and_fingerprint_are_the_devices(board, tx2):
    assert board.temperature_limit_c == tx2.thermal.throttle_c
    assert board.fingerprint == tx2.fingerprint


def governed(tx2, clock):
    return SimBoard(tx2, clock=clock, sleep=clock.sleep, is_governed=True)


def test_a_governed_board_at_rest_draws_less_than_a_pinned_one(tx2, clock):
    with governed(tx2, clock) as board:
        clock.sleep(3.0)
        board.begin_window()
        clock.sleep(1.0)
        lowest = [float(d.available_hz[0]) for d in tx2.domains.values()]
        assert board.end_window().energy_j == pytest.approx(float(tx2.power.idle_w(*lowest)))
        assert read_point(board)["cpu"] == TOP[0]  # what was asked for caps it


def test_a_governed_board_begins_a_piece_of_work_slowly(tx2, clock):
    with governed(tx2, clock) as board:
        clock.sleep(3.0)
        with board.run(WORK) as first:
            pass
        for _ in range(30):
            with board.run(WORK) as warm:
                pass
    assert first.modelled_s > 1.5 * latency_s(tx2, WORK)
    assert latency_s(tx2, WORK) < warm.modelled_s < first.modelled_s
