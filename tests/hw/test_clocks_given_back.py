"""Clocks that are given back to the machine for a while, and taken again."""

from __future__ import annotations

import errno
import random
import time

import pytest

from hw.base import Cause, Hold
from hw.boards.device_view import DeviceView
from hw.boards.linux import LinuxBoard
from hw.boards.sim import SimBoard
from hw.device.model import Demand, DeviceModel
from hw.errors import HardwareError
from hw.session.journal import Journal
from tests.hw.changed import restored
from tests.hw.fake.access import Kill, run_child
from tests.hw.fake.boards import BOARDS
from tests.hw.read_point import read_point

CPU0_MAX = "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
MACHINES = ("jetson-orin-nano", "jetson-nano", "jetson-tx2", "rk3588", "x86-acpi", "raspberry-pi-4")
LATER_S = 1.0
N_KILLS = 40
WORK = Demand(fixed_s=0.01, cpu_cycles=4e7, gpu_cycles=6e7, emc_cycles=8e7)


def lowest(board):
    return {name: domain.available_hz[0] for name, domain in board.domains.items()}


@pytest.mark.parametrize("hold", [Hold.CAP, Hold.PIN])
@pytest.mark.parametrize("name", MACHINES)
def test_the_machine_is_as_it_was_within_and_driven_again_afterwards(
    machine, open_linux, name, hold
):
    kernel = (sysfs := machine(name)).kernel
    before, requests = kernel.snapshot(), kernel.requests()
    board = open_linux(sysfs, hold)
    asked = board.apply(lowest(board))
    driven = kernel.snapshot()
    for _ in range(2):
        kernel.sleep(LATER_S)
        with board.clocks_given_back():
            assert (kernel.snapshot(), kernel.requests()) == (before, requests)
            assert not Journal.of_machine(sysfs).exists()
            n_writes = len(kernel.writes)
            assert board.apply(lowest(board)) == read_point(board)
            assert board.verify() == {}
            assert len(kernel.writes) == n_writes
            kernel.sleep(LATER_S)
        assert board.apply(lowest(board)) == asked
        assert kernel.snapshot() == driven
        assert Journal.of_machine(sysfs).exists()
    board.close()
    assert (kernel.snapshot(), kernel.requests()) == (before, requests)
    assert not Journal.of_machine(sysfs).exists()


def test_a_governor_that_was_replaced_is_back_within(pi, open_linux):
    governor = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
    found = pi.kernel.read(governor)
    board = open_linux(pi, Hold.USERSPACE)
    board.apply(lowest(board))
    with board.clocks_given_back():
        assert pi.kernel.read(governor) == found
    board.apply(lowest(board))
    assert pi.kernel.read(governor).strip() == "userspace"


def test_what_others_set_within_is_what_is_given_back_in_the_end(pi, open_linux):
    board = open_linux(pi, Hold.CAP)
    board.apply(lowest(board))
    with board.clocks_given_back():
        pi.kernel.attribute(CPU0_MAX).write("900000")
    top_hz = board.domains["cpu"].available_hz[-1]
    assert board.apply({"cpu": top_hz}) == {"cpu": 900_000_000}
    board.close()
    assert pi.kernel.read(CPU0_MAX).strip() == "900000"


def test_a_window_goes_on_while_clocks_are_given_back(machine):
    with LinuxBoard(machine("jetson-orin-nano"), hold=Hold.PIN) as board:
        board.begin_window()
        with board.clocks_given_back():
            time.sleep(1.5 * board.shortest_window_s)
        assert board.end_window().energy_j > 0.0


def test_what_cannot_be_put_back_is_told_and_tried_again_at_the_end(machine, open_linux):
    kernel = (sysfs := machine("rk3588")).kernel
    before = kernel.snapshot()
    board = open_linux(sysfs)
    board.apply(lowest(board))
    kernel.fails_writes[CPU0_MAX] = errno.EIO
    with pytest.raises(HardwareError, match="policy0/scaling_max_freq"), board.clocks_given_back():
        pytest.fail("the clocks are not given back")
    (entry,) = Journal.of_machine(sysfs).read().entries
    assert entry.setting["maximum"] == CPU0_MAX
    kernel.fails_writes.clear()
    board.apply(lowest(board))
    board.close()
    assert kernel.snapshot() == before
    assert not Journal.of_machine(sysfs).path.exists()


@pytest.mark.parametrize("name", ["jetson-nano", "rk3588"])
def test_killed_at_any_moment_around_it_the_machine_comes_back_as_it_was(name, tmp_path):
    choose = random.Random(name)
    kernel = BOARDS[name]("new")
    before, requests = kernel.snapshot(), kernel.requests()

    def drive(sysfs):
        with LinuxBoard(sysfs, hold=Hold.PIN, clock=sysfs.clock, sleep=sysfs.sleep) as board:
            board.apply(lowest(board))
            with board.clocks_given_back():
                pass
            board.apply(lowest(board))

    accesses = run_child(kernel, tmp_path, drive).accesses
    first = next(i for i, (operation, _) in enumerate(accesses) if operation == "write")
    for _ in range(N_KILLS // 2):
        at, is_done = choose.randrange(first, len(accesses)), choose.random() < 0.5
        kill = Kill(at_access=at, after_effect=is_done)
        run_child(kernel, tmp_path, drive, kill)
        restored(kernel, tmp_path)
        assert (kernel.snapshot(), kernel.requests()) == (before, requests), kill


def test_a_machine_that_is_taken_for_a_device_gives_its_own_clocks_back(machine):
    kernel = (sysfs := machine("jetson-orin-nano")).kernel
    before = kernel.snapshot()
    linux = LinuxBoard(sysfs, hold=Hold.PIN, sleep=lambda _: None)
    with DeviceView(linux, DeviceModel.load("orin-nano")) as board:
        asked = board.apply(lowest(board))
        with board.clocks_given_back():
            assert kernel.snapshot() == before
            board.apply(lowest(board))
            assert kernel.snapshot() == before
        assert board.apply(lowest(board)) == asked
    assert kernel.snapshot() == before


@pytest.mark.parametrize("is_governed", [False, True])
def test_a_modelled_boards_governors_run_uncapped_within(tx2, clock, is_governed):
    board = SimBoard(tx2, clock=clock, sleep=clock.sleep, is_governed=is_governed)
    with board:
        slow = board.apply(lowest(board))
        clock.sleep(LATER_S)
        with board.clocks_given_back():
            for _ in range(30):
                with board.run(WORK):
                    clock.sleep(0.001)
            assert board.apply(lowest(board)) == read_point(board)
            assert all(read_point(board)[name] > slow[name] for name in ("cpu", "gpu"))
            clock.sleep(3.0)
            assert read_point(board) == slow  # nothing to do
            board.begin_window()
            clock.sleep(1.0)
            idle_w = float(tx2.power.idle_w(*map(float, slow.values())))
            assert board.end_window().energy_j == pytest.approx(idle_w)
        clock.sleep(LATER_S)
        top = {name: domain.available_hz[-1] for name, domain in board.domains.items()}
        assert read_point(board) == top
        assert board.apply(slow) == slow


@pytest.mark.parametrize("name", ["jetson-orin-nx", "jetson-xavier-nx"])
def test_a_mode_chosen_within_is_no_rival_afterwards_and_stays(machine, open_linux, name):
    kernel = (sysfs := machine(name)).kernel
    board = open_linux(sysfs, Hold.CAP)
    board.apply(lowest(board))
    with board.clocks_given_back():
        kernel.devices["nvpmodel"].switch_power_mode(1)
        chosen = kernel.snapshot()
    for _ in range(3):
        kernel.sleep(LATER_S)
        board.apply(lowest(board))
        found = {applied.cause for applied in board.applied.values()}
        assert found <= {None, Cause.OFFLINE, Cause.FIRMWARE}
    board.close()
    assert kernel.snapshot() == chosen
