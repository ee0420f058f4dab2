from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hw
from hw.errors import BoardNotFoundError, DeviceFileError, UnsupportedError
from tests.hw.fakes import FakeSysfs


def test_sim_models_the_named_device():
    with hw.open_board("sim", device="tx2") as board:
        assert board.name == "sim"
        assert board.fingerprint == hw.DeviceModel.load("tx2").fingerprint


def test_linux_looks_below_the_given_root(tmp_path):
    FakeSysfs(tmp_path).add_policy()
    with hw.open_board("linux", root=tmp_path) as board:
        assert list(board.domains) == ["cpu"]


def test_linux_takes_no_device(tmp_path):
    with pytest.raises(UnsupportedError, match="'tx2'"):
        hw.open_board("linux", device="tx2", root=tmp_path)


def test_unknown_board_lists_those_that_exist():
    with pytest.raises(BoardNotFoundError, match=r"'jetson'.*sim, linux"):
        hw.open_board("jetson")


def test_unknown_device_lists_those_that_exist():
    with pytest.raises(DeviceFileError, match=r"'tx9'.*tx2"):
        hw.open_board("sim", device="tx9")


def test_names_are_those_that_open(tmp_path):
    FakeSysfs(tmp_path).add_policy()
    for name in hw.board_names():
        with hw.open_board(name, root=tmp_path) as board:
            assert board.name == name


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
