"""The device file of a measured board says exactly what was fitted."""

from __future__ import annotations

import datetime
from dataclasses import replace

import numpy as np
import pytest

from envs.calibration.device_file import USUAL_DELAY_S, Identity, device_model, provenance
from envs.calibration.fitting.confidence import Confidence
from envs.calibration.fitting.fit import Measured, Setting
from envs.calibration.samples import Kind, Piece, work
from envs.sim.split_costs import SplitCosts
from hw.boards.device_view import DeviceView
from hw.boards.emulated import EmulatedBoard
from hw.device.model import DeviceModel
from hw.device.written import device_document
from hw.emulated.machine import CLOCKS
from tests.envs.calibration import invented
from tests.envs.calibration.invented import OPTIONS

tomli_w = pytest.importorskip("tomli_w", reason="needs the extra edge")

DAY = datetime.date(2026, 1, 2)
IDENTITY = Identity("mine", "emulated", "board emulated", "6.1", "15W", "net", "onnxruntime-cpu")


@pytest.fixture(scope="module")
def measured():
    return Measured.of(invented.samples(0, 120), OPTIONS)


@pytest.fixture(scope="module")
def confidence(measured):
    return Confidence.of(measured, Setting(("cpu", "gpu"), "gpu"), n_refits=4)


@pytest.fixture
def loaded(confidence, measured, emulated, tmp_path):
    delays_s = {"cpu": 0.002, "gpu": None}
    device = device_model(IDENTITY, confidence, measured, emulated, delays_s, DAY)
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(device_document(device, provenance(device, emulated))))
    return DeviceModel.load(path)


def test_latency_and_energy_are_those_of_the_fit(loaded, confidence):
    routes = [route for route, option in enumerate(OPTIONS) if option.edge.flops]
    for cpu_hz, gpu_hz in ((450e6, 690e6), (1e9, 150e6)):
        point = {"cpu": cpu_hz, "gpu": gpu_hz}
        fit, parts = confidence.fit, []
        for kind in (Kind.HEAD, Kind.HOST):
            done = work([Piece(kind, r) for r in routes], [point] * len(routes), OPTIONS)
            parts.append((fit.latency_s(done), fit.power_w(done)))
        (head_s, head_w), (host_s, host_w) = parts
        costs = SplitCosts.of(loaded, [OPTIONS[r] for r in routes])
        hz = (cpu_hz, gpu_hz, loaded.emc_hz[0])
        np.testing.assert_allclose(loaded.latency_s(costs.head, *hz), head_s + host_s, rtol=1e-4)
        cpu_s, gpu_s = costs.head.busy_s(*hz)
        busy_s = head_s + host_s
        watt = loaded.power.total_w(
            *hz,
            cpu_util=cpu_s / busy_s,
            gpu_util=gpu_s / busy_s,
            traffic_bytes_per_s=costs.traffic_bytes / busy_s,
        )
        energy_j = head_s * head_w + host_s * host_w
        np.testing.assert_allclose(watt * busy_s, energy_j, rtol=1e-3)


def test_the_board_is_driven_as_the_device(loaded, clock, busy):
    machine = EmulatedBoard(clock=clock, sleep=clock.sleep, busy_clock=busy)
    with DeviceView(machine, loaded) as board:
        for name, table in CLOCKS.items():
            assert board.domains[name].available_hz == table.available_hz
        lowest = {name: table.available_hz[0] for name, table in CLOCKS.items()}
        assert board.apply(lowest) == lowest


def test_what_is_known_and_what_is_not_stands_in_it(loaded, emulated):
    assert loaded.domains["cpu"].actuation_delay_s == 0.002
    assert loaded.domains["gpu"].actuation_delay_s == USUAL_DELAY_S["gpu"]
    assert loaded.thermal.throttle_c == emulated.temperature_limit_c
    (rail,) = emulated.power_sensors.values()
    assert loaded.sensor.step_w == pytest.approx(rail.step_w)
    assert loaded.settable == ("cpu", "gpu")
    (validated,) = loaded.validated_on
    for part in ("net", "board emulated", "kernel 6.1", "power mode 15W", "2026-01-02", "gain"):
        assert part in validated
    assert "validated on heads, tails and the whole of net" in loaded.status_line


def test_a_board_without_a_power_sensor_says_whose_power_it_has(measured, emulated, tmp_path):
    blind = replace(measured, power_w=np.full(len(measured), np.nan))
    confidence = Confidence.of(blind, Setting(("cpu", "gpu"), "gpu"), n_refits=2)
    assert confidence.energy is None
    emulated.power_sensors = {}
    device = device_model(IDENTITY, confidence, blind, emulated, {}, DAY)
    assert device.power == DeviceModel.load("tx2").power
    assert "power, for the board has no sensor" in device.modelled
    assert provenance(device, emulated)["power"].endswith("no sensor.")
