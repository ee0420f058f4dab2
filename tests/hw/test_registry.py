from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hw
from hw.boards import registry
from hw.boards.sim import SimBoard
from hw.errors import BoardNotFoundError, DeviceFileError
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS


def test_sim_models_the_named_device():
    with hw.open_board("sim", device="tx2") as board:
        assert board.name == "sim"
        assert board.fingerprint == hw.DeviceModel.load("tx2").fingerprint


@pytest.fixture
def pi(tmp_path, monkeypatch):
    """A Raspberry Pi's kernel instead of this machine's."""
    kernel = BOARDS["raspberry-pi-4"]("new")
    monkeypatch.setattr("hw.boards.registry.Sysfs", lambda root: FakeSysfs(kernel, root))
    return kernel


def test_linux_drives_the_kernel_below_the_given_root(pi, tmp_path):
    with hw.open_board("linux", root=tmp_path) as board:
        assert list(board.domains) == ["cpu"]


def test_linux_can_be_taken_for_a_device(pi, tmp_path):
    with hw.open_board("linux", device="pi4", root=tmp_path) as board:
        assert board.fingerprint == hw.DeviceModel.load("pi4").fingerprint


def test_other_clocks_than_the_devices_are_left_alone(tmp_path, monkeypatch):
    """A neural unit that may not be written is none of its business."""
    kernel = BOARDS["rk3588"]("new")
    monkeypatch.setattr("hw.boards.registry.Sysfs", lambda root: FakeSysfs(kernel, root))
    with hw.open_board("linux", root=tmp_path) as board:
        assert "npu" in board.domains
        points = board.domains["cpu4"].available_hz
    device = tmp_path / "mine.toml"
    text = (Path(hw.__file__).parent / "devices" / "pi4.toml").read_text()
    first, rest = text.split("[domains.cpu]")
    _, rest = rest.split("]", 1)
    device.write_text(f"{first}[domains.cpu]\navailable_hz = {list(points)}{rest}")
    with hw.open_board("linux", device=device, root=tmp_path) as board:
        assert list(board.domains) == ["cpu"]
        assert all(name.startswith("cpu") for name in board._machine.domains)


def test_unknown_board_lists_those_that_exist():
    with pytest.raises(BoardNotFoundError, match=r"'jetson'.*sim, emulated, replay, linux"):
        hw.open_board("jetson")


def test_another_kind_of_board_needs_an_entry_only(monkeypatch, tx2):
    """It is opened, named where a name is wrong, and explained by the commands' help."""
    seen = []

    def build(options):
        seen.append(options.device)
        return SimBoard(options.model())

    kind = registry.BoardKind("what was recorded", build, is_machine=True)
    monkeypatch.setattr(registry, "BOARDS", {**registry.BOARDS, "replayed": kind})
    with hw.open_board("replayed", device="tx2") as board:
        assert board.fingerprint == tx2.fingerprint
    assert seen == ["tx2"]
    assert "replayed (what was recorded)" in registry.describe_boards()
    assert registry.is_machine("replayed")
    assert not registry.is_machine("jetson")
    with pytest.raises(BoardNotFoundError, match="sim, emulated, replay, linux, replayed"):
        hw.open_board("jetson")


def test_real_boards_pace_nothing_and_leave_the_air_alone(pi, tmp_path):
    with hw.open_board("linux", root=tmp_path) as board:
        before_c = board.temperature_c()
        board.set_ambient(90.0)
        assert board.temperature_c() == before_c
        with board.pace(1e12, 1e12, 1e6):
            pass
        assert board.known_max_power_w is None
        assert not board.lacks_radio


def test_unknown_device_lists_those_that_exist():
    with pytest.raises(DeviceFileError, match=r"'tx9'.*tx2"):
        hw.open_board("sim", device="tx9")


def test_boards_need_numpy_only():
    heavy = ("torch", "gymnasium", "stable_baselines3", "scipy", "tomli_w")
    code = f"import sys, hw; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(hw.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == "[]\n"
