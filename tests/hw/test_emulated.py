"""The emulated board on this machine's own control groups, which takes root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hw.boards.emulated import EmulatedBoard
from hw.errors import SensorReadError, UnsupportedError, WindowTooShortError
from hw.settings.cgroup import QuotaGroup
from hw.sysfs import Sysfs
from tests.conftest import REPOSITORY
from tests.hw.fake.clock import FakeClock

WORK_S = 0.2
CPU_GROUPS = Path("/proc/self/cgroup")


@pytest.fixture
def emulated(tx2, tmp_path):
    with EmulatedBoard(tx2, Sysfs(), journal=tmp_path) as board:
        yield board


def groups() -> str:
    return CPU_GROUPS.read_text()


def share_of_processor() -> float:
    """Processor time that a process gets which always wants more, per second."""
    begun_s, begun_busy_s = time.monotonic(), time.process_time()
    while time.monotonic() - begun_s < WORK_S:
        pass
    return (time.process_time() - begun_busy_s) / (time.monotonic() - begun_s)


def test_process_really_slows_down_as_the_clock_says(emulated):
    """A busy machine may give less than the quota, never more; so the best of some tries counts."""
    full_hz = emulated.domains["cpu"].available_hz[-1]
    best = {}
    for hz in (full_hz, 345_600_000, 960_000_000):
        emulated.apply({"cpu": hz})
        best[hz] = max(share_of_processor() for _ in range(5))
        assert best[hz] < 1.3 * hz / full_hz
    assert best[345_600_000] == pytest.approx(345_600_000 / full_hz, rel=0.3)
    assert best[345_600_000] < best[960_000_000] / 1.5


def stretched(work_s: float) -> float:
    """Wall-clock time over processor time of a piece of work after a pause."""
    time.sleep(0.03)
    begun_s, end_busy_s = time.monotonic(), time.process_time() + work_s
    while time.process_time() < end_busy_s:
        pass
    return (time.monotonic() - begun_s) / work_s


def test_single_requests_take_longer_too(emulated):
    for hz in (960_000_000, 345_600_000):
        emulated.apply({"cpu": hz})
        ideal = emulated.domains["cpu"].available_hz[-1] / hz
        assert min(stretched(0.012) for _ in range(5)) > 0.7 * ideal


def test_process_is_back_in_its_group_afterwards(tx2, tmp_path):
    before = groups()
    with EmulatedBoard(tx2, Sysfs(), journal=tmp_path) as board:
        board.apply({"cpu": 345_600_000})
        assert groups() != before
    assert groups() == before
    assert not list(Path("/sys/fs/cgroup").glob(f"**/dvfo-{os.getpid()}"))


def test_group_of_a_killed_process_is_removed_at_the_next_start(tx2, tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from hw.boards.emulated import *\n"
        "EmulatedBoard(DeviceModel.load('tx2'), Sysfs(), journal=Path(sys.argv[1])).open()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    child = subprocess.Popen(command, cwd=REPOSITORY)
    assert child.wait(timeout=30) == -signal.SIGKILL
    left = f"**/dvfo-{child.pid}"
    assert list(Path("/sys/fs/cgroup").glob(left))
    with EmulatedBoard(tx2, Sysfs(), journal=tmp_path):
        pass
    assert not list(Path("/sys/fs/cgroup").glob(left))


def test_power_is_the_models_and_says_so(tx2, tmp_path):
    clock, busy = FakeClock(), FakeClock()
    board = EmulatedBoard(tx2, Sysfs(), journal=tmp_path, clock=clock, busy_clock=busy)
    with board:
        assert board.modelled == ("power", "temperature")
        board.apply({"cpu": 345_600_000})
        used_j = []
        for busy_s in (0.0, 2.0 * 345.6 / 2035.2):  # idle; all that the clock allows
            board.begin_window()
            clock.sleep(2.0)
            busy.sleep(busy_s)
            used_j.append(board.end_window().energy_j)
        expected_w = [
            float(
                tx2.power.total_w(
                    345.6e6, 114.75e6, 1866e6, cpu_util=u, gpu_util=0.0, traffic_bytes_per_s=0.0
                )
            )
            for u in (0.0, 1.0)
        ]
        assert used_j == pytest.approx([2.0 * watt for watt in expected_w])
        assert board.power_sensors["VDD_IN"].read_w() == pytest.approx(expected_w[1])
        warm_c = board.temperature_c()
        clock.sleep(600.0)
        assert board.temperature_c() > warm_c


def test_window_that_the_power_monitor_could_not_resolve_is_refused_as_on_a_board(tx2, tmp_path):
    clock = FakeClock()
    with EmulatedBoard(tx2, Sysfs(), journal=tmp_path, clock=clock, busy_clock=clock) as board:
        assert board.shortest_window_s == pytest.approx(2 * 0.0066)
        board.begin_window()
        clock.sleep(0.013)
        with pytest.raises(WindowTooShortError, match="too short"):
            board.end_window()


def test_window_that_was_not_begun_is_an_error(emulated):
    with pytest.raises(SensorReadError, match="begin one"):
        emulated.end_window()


# Version 2 of the hierarchy, as plain files


@pytest.fixture
def version_2(tmp_path):
    """Files of a cgroup2 hierarchy; the folder that a group makes gets what the kernel puts in."""
    for name, text in {
        "proc/self/cgroup": "0::/user.slice/session-1.scope\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
        "sys/fs/cgroup/user.slice/session-1.scope/cgroup.procs": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sysfs(tmp_path)


def test_version_2_is_bound_by_cpu_max(version_2):
    folder = version_2.path(f"sys/fs/cgroup/dvfo-{os.getpid()}")
    folder.mkdir()
    for name in ("cpu.max", "cgroup.procs"):
        (folder / name).write_text("")
    group = QuotaGroup.of_process(version_2)
    group.enter()
    assert (folder / "cgroup.procs").read_text() == str(os.getpid())
    group.allow(0.25)
    assert (folder / "cpu.max").read_text() == "1000 4000"
    group.allow(1.0)
    assert (folder / "cpu.max").read_text() == "max 1000"


def test_hierarchy_without_the_controller_is_refused_with_the_remedy(version_2):
    with pytest.raises(UnsupportedError, match=r"echo \+cpu > .*cgroup.subtree_control"):
        QuotaGroup.of_process(version_2).enter()


def test_machine_without_control_groups_is_refused(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("")
    with pytest.raises(UnsupportedError, match="mount cgroup2"):
        QuotaGroup.of_process(Sysfs(tmp_path))
