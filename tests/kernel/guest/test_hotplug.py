"""Processors that go and come: what the kernel keeps of their clock, and that the board copes."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from hw.base import Cause, Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError
from hw.session.journal import Journal
from hw.session.machine_lock import MachineLock
from hw.session.session import restore_journal
from hw.sysfs import Sysfs
from tests.kernel.guest.machine import (
    CPU_HZ,
    CPUFREQ,
    GPU,
    GPU_HZ,
    SECOND,
    cooling_devices,
    limits,
    read,
    settles,
    write,
)

LATE = CPUFREQ / "policy1"
CPU_KHZ = tuple(hz // 1000 for hz in CPU_HZ)
JOURNAL = Path("/var/lib/dvfo/journal.jsonl")
LOCK = """
from hw.session.machine_lock import MachineLock
from hw.sysfs import Sysfs
MachineLock(Sysfs()).take()
"""


def open_board(hold: Hold = Hold.CAP, **options) -> LinuxBoard:
    board = LinuxBoard(Sysfs(), hold=hold, **options)
    board.open()
    return board


# What the kernel decides


def test_files_of_an_offline_policy_stay_and_are_busy():
    write(SECOND, 0)
    assert (LATE / "scaling_max_freq").exists()
    for file in ("affected_cpus", "related_cpus", "scaling_max_freq", "scaling_governor"):
        with pytest.raises(OSError, match="busy") as caught:
            read(LATE / file)
        assert caught.value.errno == errno.EBUSY
    with pytest.raises(OSError, match="busy"):
        write(LATE / "scaling_max_freq", CPU_KHZ[0])


def test_limits_and_governor_outlive_the_time_offline():
    write(LATE / "scaling_governor", "userspace")
    write(LATE / "scaling_max_freq", CPU_KHZ[2])
    write(LATE / "scaling_min_freq", CPU_KHZ[1])
    assert settles(lambda: limits(LATE), (CPU_KHZ[1], CPU_KHZ[2]))
    write(SECOND, 0)
    write(SECOND, 1)
    assert settles(lambda: limits(LATE), (CPU_KHZ[1], CPU_KHZ[2]))
    assert read(LATE / "scaling_governor") == "userspace"


def test_this_machine_has_no_boost():
    """Neither the emulated processor nor its firmware offers any; see README.md."""
    assert not (CPUFREQ / "boost").exists()
    for policy in CPUFREQ.glob("policy*"):
        assert int(read(policy / "cpuinfo_max_freq")) == CPU_KHZ[-1]
        write(policy / "scaling_max_freq", CPU_KHZ[-1] + 500_000)
        assert settles(lambda p=policy: limits(p)[1], CPU_KHZ[-1])


# What the board makes of it


def test_processor_that_comes_online_is_saved_and_driven():
    write(SECOND, 0)
    before = limits(CPUFREQ / "policy0")
    with open_board(domains=[r"cpu\d*"]) as board:
        assert list(board.domains) == ["cpu"]
        board.apply({"cpu": CPU_HZ[0]})
        write(SECOND, 1)
        came = limits(LATE)
        board.look_again()
        assert sorted(board.domains) == ["cpu", "cpu1"]
        assert board.apply({"cpu": CPU_HZ[0], "cpu1": CPU_HZ[0]})["cpu1"] == CPU_HZ[0]
        assert board.applied["cpu1"].cause is None
        assert settles(lambda: limits(LATE), (CPU_KHZ[0], CPU_KHZ[0]))
        assert "policy1" in JOURNAL.read_text()
    assert settles(lambda: limits(LATE), came)
    assert settles(lambda: limits(CPUFREQ / "policy0"), before)


def test_processor_that_goes_offline_is_no_failure_and_is_given_back_when_it_returns():
    before = limits(LATE)
    board = open_board(Hold.PIN, domains=["cpu0", "cpu1"])
    board.apply({"cpu0": CPU_HZ[1], "cpu1": CPU_HZ[1]})
    write(SECOND, 0)
    board.apply({"cpu0": CPU_HZ[2], "cpu1": CPU_HZ[2]})
    assert board.applied["cpu0"].cause is None
    assert board.applied["cpu1"].cause is Cause.OFFLINE
    board.verify()
    assert board.domains["cpu1"].read_hz() == 0
    board.close()
    assert JOURNAL.exists()
    write(SECOND, 1)
    assert settles(lambda: limits(LATE), (CPU_KHZ[1], CPU_KHZ[1]))
    sysfs = Sysfs()
    journal = Journal.of_machine(sysfs)
    journal.lock()
    assert restore_journal(sysfs, journal) == 1
    journal.unlock()
    assert settles(lambda: limits(LATE), before)
    assert not JOURNAL.exists()


def test_processor_that_comes_back_is_driven_on():
    with open_board(domains=["cpu0", "cpu1"]) as board:
        board.apply({"cpu1": CPU_HZ[1]})
        write(SECOND, 0)
        board.apply({"cpu1": CPU_HZ[1]})
        write(SECOND, 1)
        assert board.apply({"cpu1": CPU_HZ[0]}) == {"cpu1": CPU_HZ[0]}
        assert board.applied["cpu1"].cause is None


# Caps at the start


@pytest.mark.parametrize("kind", ["Processor", f"devfreq-{GPU.name}"])
def test_thermal_cap_at_the_start_is_not_made_permanent(kind):
    folder = GPU if kind.startswith("devfreq") else CPUFREQ / "policy0"
    before = limits(folder)
    device = cooling_devices(kind)[0]
    write(device / "cur_state", 2)
    assert settles(lambda: limits(folder) < before, True)
    name, points = ("gpu", GPU_HZ) if folder == GPU else ("cpu0", CPU_HZ)
    with open_board(domains=[name]) as board:
        board.apply({name: points[0]})
    write(device / "cur_state", 0)
    assert settles(lambda: limits(folder), before)


def test_limit_below_a_thermal_cap_stays_the_owners():
    write(GPU / "max_freq", GPU_HZ[4])
    device = cooling_devices(f"devfreq-{GPU.name}")[0]
    write(device / "cur_state", 2)
    with open_board(domains=["gpu"]) as board:
        assert board.apply({"gpu": GPU_HZ[-1]}) == {"gpu": GPU_HZ[4]}
    write(device / "cur_state", 0)
    assert limits(GPU)[1] == GPU_HZ[4]


# Containers


@pytest.mark.parametrize(
    ("namespaces", "mounts"),
    [
        (["-m"], "mount -t tmpfs none /dev"),
        (["-m", "-n", "-p", "-f"], "mount -t sysfs none /sys && mount -t tmpfs none /dev"),
    ],
)
def test_lock_of_the_machine_holds_between_containers(namespaces, mounts):
    lock = MachineLock(Sysfs())
    lock.take()
    shell = f'{mounts} && exec "$0" -c "$1"'
    command = ["unshare", *namespaces, "sh", "-c", shell, sys.executable, LOCK]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    lock.release()
    assert BusyError.__name__ in tried.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
