"""Measurement of boards whose time passes only when it is waited for."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from msgspec import structs

from envs.calibration import campaign as of_campaign
from envs.calibration.bench import Bench
from envs.calibration.campaign import FEWEST, Campaign, pieces
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting
from envs.calibration.record import Header, Record
from envs.calibration.samples import Kind, Piece
from envs.errors import CalibrationError
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from hw.emulated.machine import CLOCKS
from hw.errors import FrequencyRejectedError, SensorReadError
from tests.envs.calibration.invented import OPTIONS, WHOLE
from tests.envs.calibration.virtual import VirtualRunner

EMULATED = Setting(("cpu", "gpu"), "gpu")


@pytest.fixture
def bench(emulated, clock, busy):
    return Bench(emulated, VirtualRunner(emulated, clock, busy), clock=clock, sleep=clock.sleep)


@pytest.fixture
def on_sim(sim, clock):
    return Bench(sim, VirtualRunner(sim, clock), clock=clock, sleep=clock.sleep)


def test_a_sample_is_what_the_board_does(on_sim, sim):
    device, point = sim.device, on_sim.bottom
    sample = on_sim.measure(WHOLE, point)
    cost = OPTIONS[-1].edge
    demand = device.network.demand(cost.flops, cost.traffic_bytes, cost.kernels)
    expected_s = float(device.latency_s(demand, point["cpu"], point["gpu"], point["emc"]))
    assert sample.latency_s == pytest.approx(expected_s, rel=1e-3)
    assert sample.applied_hz == point
    assert sample.n_runs >= 5
    assert sample.duration_s >= 1.0
    assert sample.power_w > float(device.power.idle_w(*point.values()))
    assert sample.temperature_c is not None
    idle = on_sim.measure(Piece(Kind.IDLE), point)
    assert idle.latency_s is None
    assert idle.power_w == pytest.approx(float(device.power.idle_w(*point.values())), rel=1e-3)


def test_the_delay_of_each_clock_is_found(bench, on_sim, sim):
    whole_and_host = [WHOLE, Piece(Kind.HOST, 0)]
    for name, table in CLOCKS.items():
        found_s = bench.actuation_delay_s(name, whole_and_host)
        assert found_s == pytest.approx(table.delay_s, abs=2e-4)
    found_s = on_sim.actuation_delay_s("emc", [WHOLE])
    assert found_s == pytest.approx(sim.device.domains["emc"].actuation_delay_s, abs=2e-4)


def test_the_delay_of_a_clock_that_changes_nothing_is_unknown(bench):
    assert bench.actuation_delay_s("cpu", [WHOLE]) is None


@pytest.mark.parametrize("method", ["apply", "end_window"])
def test_one_failure_costs_a_try_and_three_the_measurement(bench, emulated, monkeypatch, method):
    n_failures, works = [2], getattr(emulated, method)

    def failing(*arguments):
        n_failures[0] -= 1
        if n_failures[0] >= 0:
            works(*arguments)
            error = {"apply": FrequencyRejectedError, "end_window": SensorReadError}[method]
            raise error("not now")
        return works(*arguments)

    monkeypatch.setattr(emulated, method, failing)
    assert bench.measure(WHOLE, bench.top).latency_s
    n_failures[0] = 3
    with pytest.raises(CalibrationError, match=r"emulated fails to measure at cpu .* not now"):
        bench.measure(WHOLE, bench.top)


def test_the_guard_holds_and_what_it_left_is_what_was_measured(bench, emulated):
    emulated.set_ambient(76.0)
    for _ in range(5):
        sample = bench.measure(WHOLE, bench.top)
    assert sample.requested_hz == bench.top
    assert sample.applied_hz["gpu"] < bench.top["gpu"]


def record_header():
    return Header("emulated", "invented", "cpu", 0)


def campaign(bench, path, minutes=3.0):
    record = Record(path, record_header())
    kinds = frozenset(Kind)
    return record, Campaign(bench, OPTIONS, kinds, EMULATED, record, minutes=minutes)


def test_as_many_points_are_planned_as_there_is_time_for(bench, clock, tmp_path):
    record, measurement = campaign(bench, tmp_path / "mine.jsonl")
    began_s = clock()
    n_planned = measurement.planned()
    assert 80 < n_planned < 180
    measurement.run()
    assert len(record.samples) >= 0.95 * n_planned
    assert clock() - began_s == pytest.approx(180.0, rel=0.15)
    assert {sample.kind for sample in record.samples} == set(Kind)
    controls = [sample for sample in record.samples if sample.is_control]
    assert len(controls) == pytest.approx(len(record.samples) / 10, abs=2)
    assert len(measurement.measured()) >= len(record.samples) - len(controls)


def test_a_measurement_that_was_cut_goes_on(bench, tmp_path, monkeypatch):
    path = tmp_path / "mine.jsonl"
    record, measurement = campaign(bench, path)
    plan_length, measure = measurement.planned(), bench.measure

    def cut(piece, point, **options):
        if len(record.samples) == 30:
            raise KeyboardInterrupt
        return measure(piece, point, **options)

    monkeypatch.setattr(bench, "measure", cut)
    with pytest.raises(KeyboardInterrupt):
        measurement.run()
    path.write_bytes(path.read_bytes() + b'{"kind":"he')  # killed while it wrote
    monkeypatch.undo()
    again, measurement = campaign(bench, path)
    assert again.samples == record.samples
    assert measurement.planned() == plan_length
    measurement.run()
    assert again.samples[:30] == record.samples[:30]
    assert len(again.samples) >= 0.95 * plan_length
    starts_s = [sample.began_s for sample in again.samples]
    assert starts_s == sorted(starts_s)
    asked = [(s.piece, {n: round(hz) for n, hz in s.requested_hz.items()}) for s in again.samples]
    assert asked == again.plan[: len(asked)]


def test_more_minutes_go_on_with_what_tells_most_then(bench, clock, tmp_path):
    path = tmp_path / "mine.jsonl"
    record, measurement = campaign(bench, path, minutes=1.5)
    measurement.run()
    first, n_first = list(record.samples), len(record.plan)
    again, measurement = campaign(bench, path, minutes=3.0)
    began_s = clock()
    assert measurement.planned() > n_first + 20
    measurement.run()
    assert again.samples[: len(first)] == first
    assert len(again.samples) > len(first) + 20
    assert clock() - began_s < 1.5 * 90.0
    assert again.minutes == 3.0
    assert Record(path, record_header()).plan == again.plan


def test_a_sample_that_was_disturbed_is_taken_once_more(bench, clock, tmp_path, monkeypatch):
    record, measurement = campaign(bench, tmp_path / "mine.jsonl", minutes=1.0)
    measurement.planned()
    taken, measure = [], bench.measure

    def disturbed(piece, point, **options):
        sample = measure(piece, point, **options)
        if len(taken) == 4:
            sample = structs.replace(sample, latency_error=0.2)
        taken.append(sample)
        return sample

    monkeypatch.setattr(bench, "measure", disturbed)
    measurement.run()
    assert len(taken) == len(record.samples) + 1
    assert taken[4] not in record.samples
    assert taken[5] in record.samples


def test_a_delay_that_other_programs_hide_is_unknown(bench, clock, monkeypatch):
    runner, waits_s = bench._runner, iter(np.random.default_rng(0).exponential(0.01, 10_000))
    prepared = runner.prepared

    def late(piece):
        run = prepared(piece)
        return lambda: (run(), clock.sleep(next(waits_s)))

    monkeypatch.setattr(runner, "prepared", late)
    assert bench.actuation_delay_s("gpu", [WHOLE]) is None


def test_a_record_of_another_measurement_is_left_alone(tmp_path):
    path = tmp_path / "mine.jsonl"
    Record(path, record_header())
    with pytest.raises(CalibrationError, match="holds another measurement"):
        Record(path, Header("linux", "invented", "cpu", 0))
    path.write_text(path.read_text() + "no json\n")
    with pytest.raises(CalibrationError, match="is damaged"):
        Record(path, record_header())


def test_too_little_time_is_refused(bench, tmp_path):
    _, measurement = campaign(bench, tmp_path / "mine.jsonl", minutes=0.3)
    with pytest.raises(CalibrationError, match=rf"fit needs {FEWEST}; give more --minutes"):
        measurement.planned()


def test_pieces_are_spread_over_the_network():
    found = pieces(OPTIONS, frozenset(Kind))
    assert WHOLE in found
    assert Piece(Kind.HEAD, 0) not in found  # computes nothing
    assert Piece(Kind.TAIL, 0) in found
    assert {Piece(Kind.HOST, 8), Piece(Kind.HOST, 1)} <= set(found)  # sends nothing, and most
    assert len(found) == 1 + of_campaign.N_HEADS + of_campaign.N_TAILS + of_campaign.N_HOSTS


def test_a_machine_without_clocks_has_its_pieces_alone(clock, busy, emulated, tmp_path):
    emulated.domains = {}
    bench = Bench(emulated, VirtualRunner(emulated, clock, busy), clock=clock, sleep=clock.sleep)
    record = Record(tmp_path / "mine.jsonl", record_header())
    measurement = Campaign(bench, OPTIONS, frozenset(Kind), Setting((), "gpu"), record, minutes=2.0)
    measurement.run()
    assert all(sample.requested_hz == {} for sample in record.samples)
    assert {point for _, point in measurement.candidates if point} == set()


def test_a_board_without_a_power_sensor_is_measured_without(bench, emulated, monkeypatch):
    from hw.errors import UnsupportedError

    def none() -> None:
        raise UnsupportedError("no power sensor")

    monkeypatch.setattr(emulated, "begin_window", none)
    blind = Bench(emulated, SimpleNamespace(), clock=lambda: 0.0, sleep=lambda _: None)
    assert not blind.has_power


def test_a_board_whose_processor_computes_has_one_clock_to_fit(clock, tmp_path):
    device = DeviceModel.load("pi4")
    with SimBoard(device, clock=clock, sleep=clock.sleep) as board:
        runner, setting = VirtualRunner(board, clock), Setting(("cpu",), "cpu")
        bench = Bench(board, runner, clock=clock, sleep=clock.sleep)
        record = Record(tmp_path / "mine.jsonl", record_header())
        options = {"minutes": 1.5, "seed": 1}
        Campaign(bench, OPTIONS, runner.kinds, setting, record, **options).run()
    found = Confidence.of(Measured.of(record.samples, OPTIONS), setting, n_refits=2)
    assert found.latency.largest <= 0.01
    assert found.energy.mean <= 0.03
    assert found.fit.network.cpu_cycles_per_flop > 0.0
    assert found.fit.network.gpu_cycles_per_flop == 0.0
