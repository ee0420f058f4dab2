"""The emulated board as a board: heat, guard, two of them, and taken for a device."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hw
from hw.base import Cause
from hw.device.file import device_names
from hw.emulated.machine import CLOCKS, HEAT
from hw.errors import UnsupportedError
from tests.conftest import REPOSITORY

TOP = {name: table.available_hz[-1] for name, table in CLOCKS.items()}


def burn(board, clock, work, seconds):
    """Run the network without a pause."""
    for _ in range(round(seconds / 0.5)):
        with board.pace(1.0, 1.0, 1.0):
            work(0.5)


def test_it_is_modelled_and_says_so(emulated):
    assert emulated.modelled == ("clocks", "power", "temperature")
    assert emulated.lacks_radio
    assert emulated.prepares_inputs
    assert emulated.device is None


def test_work_heats_and_rest_cools(emulated, clock, work, hold):
    hold(emulated, **TOP)
    cold_c = emulated.temperature_c()
    burn(emulated, clock, work, 200.0)
    warm_c = emulated.temperature_c()
    assert cold_c + 20.0 < warm_c < emulated.temperature_limit_c - 5.0
    clock.sleep(900.0)
    assert emulated.temperature_c() < warm_c - 15.0


def test_the_guard_holds_the_limit_on_a_hot_day(emulated, clock, work, hold):
    emulated.set_ambient(50.0)
    hottest_c = 0.0
    for _ in range(600):
        emulated.apply(TOP)
        burn(emulated, clock, work, 0.5)
        hottest_c = max(hottest_c, emulated.temperature_c())
    assert hottest_c < emulated.temperature_limit_c
    assert emulated.applied["gpu"].cause is Cause.GUARD


def test_without_a_guard_the_machine_throttles_itself(emulated, clock, work, hold):
    emulated.guard = None
    emulated.set_ambient(60.0)
    hold(emulated, **TOP)
    burn(emulated, clock, work, 300.0)
    assert emulated.verify()["gpu"] < TOP["gpu"]
    assert emulated.applied["gpu"].cause is Cause.THERMAL
    assert emulated.domains["gpu"].read_hz() < TOP["gpu"]
    assert emulated.temperature_c() < HEAT.throttle_c + HEAT.throttle_span_c


def test_two_boards_are_two_machines(make, clock, work, hold):
    with make(seed=1) as one, make(seed=2) as other:
        hold(one, **TOP)
        assert other.domains["gpu"].read_hz() == CLOCKS["gpu"].available_hz[0]
        for board in (one, other):
            board.begin_window()
        with one.pace(1.0, 1.0, 1.0), other.host():
            clock.sleep(10.0)
        energies = [board.end_window().energy_j for board in (one, other)]
        assert energies[0] > 2.0 * energies[1]
        assert one.temperature_c() > other.temperature_c()


def test_unknown_clocks_are_named(make, emulated):
    with pytest.raises(UnsupportedError, match=r"'emc'.*cpu, gpu"):
        emulated.apply({"emc": 1})
    with pytest.raises(UnsupportedError, match=r"'npu'.*cpu, gpu"):
        make(domains=["npu"])


def test_a_policy_without_clocks_drives_none():
    with hw.open_board("emulated", domains=()) as board:
        assert board.domains == {}


def test_policies_know_it_by_its_clocks(emulated):
    with hw.open_board("emulated") as opened:
        assert opened.fingerprint == emulated.fingerprint
        assert {name: d.available_hz for name, d in opened.domains.items()} == {
            name: table.available_hz for name, table in CLOCKS.items()
        }


def test_it_is_taken_for_a_device_that_was_made_of_it(tmp_path):
    device = mine(tmp_path)
    with hw.open_board("emulated", device=device) as board:
        assert board.device.name == "mine"
        assert board.modelled == ("clocks", "power", "temperature")
        assert board.lacks_radio
        assert board.prepares_inputs
        assert board.apply(TOP) == TOP
        with board.host(), pytest.raises(UnsupportedError, match="busy"), board.pace(1, 1, 1):
            pass  # both are the machine's
        with board.clocks_given_back():
            assert board.verify() == {}
            time.sleep(0.1)
            assert board.domains["gpu"].read_hz() == CLOCKS["gpu"].available_hz[0]
        assert board.apply(TOP) == TOP


def mine(folder: Path) -> Path:
    """A device file with the machine's clocks; what else it says does not matter here."""
    text = (Path(hw.__file__).parent / "devices" / "tx2.toml").read_text()
    for name, table in {**{n: t.available_hz for n, t in CLOCKS.items()}, "emc": (10**9,)}.items():
        before, after = text.split(f"[domains.{name}]\navailable_hz = [", 1)
        _, after = after.split("]", 1)
        text = f"{before}[domains.{name}]\navailable_hz = {list(table)}{after}"
    path = folder / "mine.toml"
    path.write_text(text.replace('name = "tx2"', 'name = "mine"', 1))
    return path


@pytest.mark.parametrize("device", device_names())
def test_every_shipped_device_is_another(device):
    with pytest.raises(UnsupportedError, match=r"this is another device|cannot be set here"):
        hw.open_board("emulated", device=device)


def test_a_killed_process_leaves_nothing_behind(tmp_path):
    """No file, no lock: the next one starts as if nothing had been."""
    code = (
        "import os, signal; import hw; board = hw.open_board('emulated')\n"
        "board.apply({'gpu': 1}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    killed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
    with hw.open_board("emulated"):
        pass
