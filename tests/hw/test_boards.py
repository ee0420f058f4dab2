"""Device models of boards but the TX2: whole, monotone, and near what was published."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from hw.calibrate.boards import Fitted, device_toml, read_table
from hw.calibrate.write_boards import check_anchors, main
from hw.device.file import DEVICES, device_names
from hw.device.model import DeviceModel

BOARDS = sorted(read_table())
DOMAINS = ("cpu", "gpu", "emc")


@pytest.fixture(params=device_names())
def device(request) -> DeviceModel:
    return DeviceModel.load(request.param)


def along(device, domain):
    """All clocks of one domain with the others in the middle, one array per domain."""
    middle = [d.available_hz[len(d.available_hz) // 2] for d in device.domains.values()]
    table = np.array(device.domains[domain].available_hz, dtype=np.float64)
    return [table if name == domain else hz for name, hz in zip(DOMAINS, middle, strict=True)]


def test_every_board_of_the_table_ships_beside_the_measured_one():
    assert set(device_names()) == {*BOARDS, "tx2"}
    assert {"nano", "xavier-nx", "orin-nano", "agx-orin", "pi4"} <= set(BOARDS)
    assert {"agx-xavier", "orin-nx", "rk3588"} <= set(BOARDS)


def test_latency_falls_with_every_clock(device):
    work = device.network.demand(8e8, 3e7, 60)
    for domain in device.settable:
        assert (np.diff(device.latency_s(work, *along(device, domain))) < 0.0).all(), domain


@pytest.mark.parametrize("util", [0.0, 0.5, 1.0])
def test_power_rises_with_every_clock_and_with_load(device, util):
    for domain in device.settable:
        clocks_hz = along(device, domain)
        levels_w = [
            device.power.total_w(*clocks_hz, cpu_util=u, gpu_util=u, traffic_bytes_per_s=u * 1e9)
            for u in (util, util + 0.1)
        ]
        assert (np.diff(levels_w[0]) > 0.0).all(), domain
        assert (levels_w[1] > levels_w[0]).all(), domain


def test_a_head_and_its_tail_take_what_the_whole_takes(device):
    parts = [
        device.network.demand(*size) for size in ((2e8, 1e7, 20), (6e8, 2e7, 40), (8e8, 3e7, 60))
    ]
    for name in ("fixed_s", "cpu_cycles", "gpu_cycles", "emc_cycles"):
        head, tail, whole = (float(getattr(part, name)) for part in parts)
        assert head + tail == pytest.approx(whole)


def test_the_provenance_says_where_nothing_was_measured(device):
    if device.name == "nano":
        assert device.validated_on == ()
        assert any(sentence.startswith("everything") for sentence in device.modelled)
        assert "validated on nothing" in device.status_line
    assert device.modelled


def test_every_run_time_says_what_was_measured_and_what_is_assumed(device):
    for name, runtime in device.runtimes.items():
        chosen = DeviceModel.load(f"{device.name}@{name}")
        assert runtime.measured in chosen.status_line
        assert runtime.assumed in chosen.status_line


def test_run_times_differ_as_they_were_measured():
    """YOLOv8n on an Orin Nano Super: 3.5, 4.4, 8.4 and 20.9 ms were measured."""
    size = (8.7e9, 1.7e8, 74)  # YOLOv8n at 640 px
    times_s = {}
    for runtime in ("tensorrt-int8", "tensorrt-fp16", "tensorrt-fp32", "torch"):
        device = DeviceModel.load(f"orin-nano@{runtime}")
        hz = (1728e6, 1020e6, 3199e6)  # the board's largest power mode
        times_s[runtime] = float(device.latency_s(device.network.demand(*size), *hz))
    assert times_s["tensorrt-fp32"] == pytest.approx(1.89 * times_s["tensorrt-fp16"], rel=0.01)
    assert sorted(times_s, key=lambda name: times_s[name]) == list(times_s)
    assert times_s["tensorrt-fp16"] == pytest.approx(4.4e-3, rel=0.2)
    assert times_s["torch"] == pytest.approx(20.9e-3, rel=0.1)


@pytest.mark.parametrize("name", BOARDS)
def test_published_figures_are_met(name):
    checks = list(check_anchors(DeviceModel.load(name)))
    assert len(checks) >= 3 or name == "rk3588"
    for check in checks:
        assert check.modelled == pytest.approx(check.published, rel=check.tolerance), check.what


def test_the_nano_uses_little_more_energy_at_the_published_optimum_than_at_its_own():
    """Published: 614 to 691 MHz. The published curves of power and time are flat up to 850 MHz."""
    device = DeviceModel.load("nano")
    cpu_hz, emc_hz = device.cpu_hz[-1], device.emc_hz[-1]
    latency_s = device.latency_s(
        device.workloads["mobilenet_triton"], cpu_hz, device.gpu_hz, emc_hz
    )
    share = device.gpu_hz / device.gpu_hz[-1]
    power_w = device.power.total_w(
        cpu_hz, device.gpu_hz, emc_hz, cpu_util=0.2, gpu_util=1.0, traffic_bytes_per_s=2.2e9 * share
    )
    energy_j = power_w * latency_s
    published = np.flatnonzero((device.gpu_hz > 614e6) & (device.gpu_hz < 692e6))
    assert energy_j[published].min() < 1.02 * energy_j.min()
    assert energy_j[0] > 1.5 * energy_j.min()


def test_power_monitor_resolves_a_control_step(device):
    assert 2 * device.sensor.period_s <= 0.25


def test_only_the_cpu_clock_of_a_raspberry_pi_can_be_set():
    assert DeviceModel.load("pi4").settable == ("cpu",)


@pytest.mark.parametrize("name", BOARDS)
def test_the_shipped_file_is_what_the_table_gives(name):
    shipped = (DEVICES / f"{name}.toml").read_text(encoding="utf-8")
    boards = read_table()
    fitted = Fitted.shipped(name, boards[name])
    assert shipped == device_toml(name, boards, DeviceModel.load("tx2"), fitted)


def test_the_command_writes_every_file_and_tells_each_figure(tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    assert sorted(path.stem for path in tmp_path.glob("*.toml")) == BOARDS
    n_anchors = sum(len(board.get("anchors", [])) for board in read_table().values())
    assert capsys.readouterr().out.count("ok  ") == n_anchors


def test_without_a_folder_the_command_writes_nothing(capsys, monkeypatch):
    monkeypatch.setattr("pathlib.Path.write_text", None)
    assert main([]) == 0
    monkeypatch.setattr("hw.calibrate.write_boards.device_toml", lambda *_: "changed")
    assert main([]) == 1
    assert "is not what the table says" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["gone", "damaged"])
def test_a_device_file_or_a_table_that_cannot_be_read_is_named(
    tmp_path, monkeypatch, capsys, fault
):
    devices = shutil.copytree(DEVICES, tmp_path / "devices")
    (devices / f"{BOARDS[-1]}.toml").unlink()
    if fault == "damaged":
        (devices / f"{BOARDS[-1]}.toml").write_bytes(b"\xff")
    with monkeypatch.context() as patch:
        patch.setattr("hw.calibrate.write_boards.DEVICES", devices)
        assert main([]) == 2
    assert re.fullmatch(
        rf"error: \S+{BOARDS[-1]}\.toml cannot be read: .*; write it by --out \S+\n",
        capsys.readouterr().err,
    )
    table = tmp_path / "boards.toml"
    if fault == "damaged":
        table.write_text("[")
    monkeypatch.setattr("hw.calibrate.boards.TABLE", table)
    assert main([]) == 2
    assert capsys.readouterr().err.startswith(f"error: table {table} cannot be read: ")


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "gone")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "gone" in error
