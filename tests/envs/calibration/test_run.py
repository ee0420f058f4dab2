"""A whole calibration of a modelled board whose time passes only when it is waited for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from envs.calibration import bench, cloud, opening
from envs.calibration.cloud import CloudFigures
from envs.calibration.fitting import confidence
from envs.calibration.opening import CalibrationConfig
from envs.calibration.run import calibrate, record_path
from envs.errors import CalibrationError
from envs.scenarios.scenario import Scenario
from envs.sim.build import build_sim_config
from hw.boards.sim import SimBoard
from hw.device.model import DeviceModel
from hw.errors import BoardNotFoundError
from partition.edge.client import LinkEstimate
from partition.transport.wire import Reply
from tests.hw.fake.clock import FakeClock

tomli_w = pytest.importorskip("tomli_w", reason="needs the extra edge")


@pytest.fixture(scope="module")
def done(tiny, tmp_path_factory):
    """A TX2 that was calibrated with a tiny network; its folder, and what was told."""
    out = tmp_path_factory.mktemp("calibrated") / "mine.toml"
    clock, lines, boards = FakeClock(), [], []

    def opened(name, **_):
        boards.append(SimBoard(DeviceModel.load("tx2"), clock=clock, sleep=clock.sleep))
        boards[-1].open()
        return boards[-1]

    patch = pytest.MonkeyPatch()
    patch.setattr(opening, "open_board", opened)
    patch.setattr(bench, "WINDOW_S", 0.25)  # short ones, for no time is lost to noise
    patch.setattr(confidence, "N_REFITS", 10)
    config = CalibrationConfig(board="sim", model=str(tiny.path), out=out, minutes=1.0)
    calibrate(config, lines.append, clock=clock, sleep=clock.sleep)
    patch.undo()
    return out, lines, boards[0]


def test_the_user_is_told_what_was_found(done):
    out, lines, _ = done
    text = "\n".join(lines)
    assert "measurements fit into 1 minutes" in lines[0]
    assert "latency is off by" in text
    assert "energy (modelled) is off by" in text
    assert "with more --minutes the same command goes on, first with:" in text
    assert lines[-1].startswith("next: ")
    assert f"--device {out}" in lines[-1]
    assert "warning" not in text


def test_the_file_is_a_device_as_the_board_is(done, tiny):
    out, _, board = done
    found, truth = DeviceModel.load(out), board.device
    assert found.domains.keys() == truth.domains.keys()
    for name, domain in truth.domains.items():
        assert found.domains[name].available_hz == domain.available_hz
    whole = tiny.routes[-1].edge
    size = whole.flops, whole.traffic_bytes, whole.kernels
    hz = np.meshgrid(truth.cpu_hz, truth.gpu_hz, truth.emc_hz)
    seen_s, true_s = (d.latency_s(d.network.demand(*size), *hz) for d in (found, truth))
    np.testing.assert_allclose(seen_s, true_s, rtol=0.12)
    assert np.mean(np.abs(seen_s / true_s - 1.0)) < 0.05


def test_the_file_says_where_it_comes_from(done):
    found = DeviceModel.load(done[0])
    (validated,) = found.validated_on
    for part in ("tiny-cnn", "board sim", "kernel", "power mode none", "onnxruntime-cpu", "20"):
        assert part in validated
    assert any(sentence.startswith("of the board itself: clocks") for sentence in found.modelled)


def test_training_takes_the_file(done, tiny):
    world = build_sim_config(str(done[0]), tiny, ["steady-wifi"])
    assert world.device.name == "mine"
    assert (world.costs.head.gpu_cycles >= 0.0).all()


def test_samples_and_picture_lie_beside_it(done):
    out = done[0]
    lines = record_path(out).read_text().splitlines()
    assert json.loads(lines[0])["board"].startswith("sim ")
    assert len(lines) > 100
    assert out.with_suffix(".png").stat().st_size > 10_000


def test_the_board_is_given_back(done):
    assert not done[2]._is_open


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("mine.json", r"ends in \.toml"),
        ("there.toml", "exists; give another --out"),
        ("none/mine.toml", "there is no folder"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_anything_is_done(tmp_path, out, message):
    (tmp_path / "there.toml").write_text("")
    config = CalibrationConfig(board="sim", model="none", out=tmp_path / out, minutes=1.0)
    with pytest.raises(CalibrationError, match=message):
        calibrate(config)


def test_a_machine_without_clocks_is_told_what_is_left(monkeypatch, tmp_path):
    def none(name, **_):
        raise BoardNotFoundError("no clock under /sys; use --board sim")

    monkeypatch.setattr(opening, "open_board", none)
    monkeypatch.setattr(opening.ClocklessMachine, "open", lambda self: None)
    lines = []
    config = CalibrationConfig(board="linux", model="m", out=tmp_path / "m.toml", minutes=1.0)
    board = opening.opened(config, lines.append)
    assert list(opening.settable(board)) == []
    assert "no clock can be set here" in lines[0]
    assert "where to cut the network can still be learned" in lines[0]
    with pytest.raises(BoardNotFoundError):
        opening.opened(CalibrationConfig("unknown", "m", Path("m.toml"), 1.0), lines.append)


class FakeCloud:
    """A server of 10 GFLOP/s behind a link of 20 Mbit/s."""

    def __init__(self, flops):
        self.flops, self.n_probes = flops, 0

    def probe(self):
        self.n_probes += 1
        return LinkEstimate(20e6 + self.n_probes, 0.0115, age_s=0.0, server_load=0.0)

    def infer(self, point, encoded, patience_s):
        return Reply((np.zeros((1, 10), np.float32),), point.tail.flops / 10e9 / 0.5, 0.5, 0)


class FakeRunner:
    def __init__(self, folder):
        self.options = folder.routes

    def sent(self, index):
        return ()


def test_link_and_server_become_a_scenario(tiny, tmp_path):
    figures = cloud.measure(FakeCloud(tiny.routes[0].cloud_flops), tiny, FakeRunner(tiny))
    assert "uplink 20.0 Mbit/s, round trip 11.5 ms, server 10.0 GFLOP/s" in figures.words
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps(figures.scenario("mine")))
    found = Scenario.load(str(path))
    usual = Scenario.load("steady-wifi")
    assert found.server_flops_per_s == pytest.approx(10e9)
    assert found.eta == usual.eta
    assert "mine" in found.description


def test_a_server_that_reports_no_time_is_named(tiny):
    class Silent(FakeCloud):
        def infer(self, point, encoded, patience_s):
            return Reply((np.zeros((1, 10), np.float32),), 0.0, 0.0, 0)

    with pytest.raises(CalibrationError, match="reports no computing time"):
        cloud.measure(Silent(1.0), tiny, FakeRunner(tiny))


def test_words_are_of_the_middle():
    figures = CloudFigures((1e6, 2e6, 9e6), (0.01, 0.02, 0.9), (1e9, 2e9, 3e9))
    assert "uplink 2.0 Mbit/s, round trip 20.0 ms, server 2.0 GFLOP/s (1.0 to 3.0" in figures.words
