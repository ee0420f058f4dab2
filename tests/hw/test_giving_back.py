"""What is given back, and what stays in the journal, when the machine has changed meanwhile."""

from __future__ import annotations

import errno
import json
import os
import signal

import pytest

from hw import restore
from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import HardwareError
from hw.session.journal import Journal
from hw.session.session import Session
from hw.settings.settings import LimitPair
from tests.hw.changed import leave_changed, restored
from tests.hw.fake.access import FakeSysfs, Kill, run_child
from tests.hw.fake.boards import BOARDS

CPU = "sys/devices/system/cpu"
CPU0_MAX = f"{CPU}/cpufreq/policy0/scaling_max_freq"


# Nodes that go


def test_node_that_went_away_blocks_no_start_and_stays_in_the_journal(
    tmp_path, generation, open_linux, caplog
):
    kernel = BOARDS["rk3588"](generation)
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path)
    target = kernel.real_path("sys/class/devfreq/fb000000.gpu")
    kernel.remove("sys/class/devfreq/fb000000.gpu")  # the driver was unloaded
    sysfs = FakeSysfs(kernel, tmp_path)
    board = open_linux(sysfs, domains=["cpu0"])
    assert "fb000000.gpu/max_freq is gone or offline" in caplog.text
    board.apply({"cpu0": 600_000_000})
    board.close()
    entries = Journal.of_machine(sysfs).read().entries
    assert {json.dumps(entry.setting).count("fb000000.gpu") > 0 for entry in entries} == {True}
    others = {p: t for p, t in before.items() if not p.startswith(target)}
    assert {p: t for p, t in kernel.snapshot().items() if p in others} == others
    # What the owner sets since is not written over by the next start.
    kernel.attribute(CPU0_MAX).write("1008000")
    open_linux(sysfs, domains=["cpu0"]).close()
    assert kernel.read(CPU0_MAX).strip() == "1008000"
    kernel.attribute(CPU0_MAX).write(before[CPU0_MAX])
    kernel.link("sys/class/devfreq/fb000000.gpu", target)
    assert restored(kernel, tmp_path) > 0
    assert kernel.snapshot() == before
    assert not Journal.of_machine(sysfs).path.exists()


def test_cluster_that_is_offline_at_the_end_is_given_back_when_it_returns(
    machine, open_linux, caplog
):
    sysfs = machine("jetson-agx-orin")
    kernel = sysfs.kernel
    before = kernel.snapshot()
    board = open_linux(sysfs)
    board.apply({"cpu0": 500_000_000, "cpu8": 500_000_000})
    for cpu in range(8, 12):
        kernel.attribute(f"{CPU}/cpu{cpu}/online").write("0")
    board.close()
    assert "policy8/scaling_max_freq is gone or offline" in caplog.text
    for cpu in range(8, 12):
        kernel.attribute(f"{CPU}/cpu{cpu}/online").write("1")
    assert restored(kernel, sysfs.root) == 1
    assert kernel.snapshot() == before


def test_what_is_owed_to_a_cluster_is_what_it_is_given_back_in_the_end(machine, open_linux):
    """A start in between finds our own old limit and must not take it for the owner's."""
    sysfs = machine("jetson-agx-orin")
    kernel = sysfs.kernel
    before = kernel.snapshot()
    leave_changed(kernel, sysfs.root, Hold.CAP)
    for cpu in range(8, 12):
        kernel.attribute(f"{CPU}/cpu{cpu}/online").write("0")
    board = open_linux(sysfs, Hold.CAP)
    board.apply({"cpu0": 500_000_000})
    for cpu in range(8, 12):
        kernel.attribute(f"{CPU}/cpu{cpu}/online").write("1")
    board.look_again()
    top_hz = board.domains["cpu8"].available_hz[-1]
    assert board.apply({"cpu8": top_hz}) == {"cpu8": top_hz}
    board.close()
    assert kernel.snapshot() == before
    assert not Journal.of_machine(sysfs).path.exists()


def test_command_tells_what_waits_and_that_is_no_failure(tmp_path, monkeypatch, capsys):
    kernel = BOARDS["rk3588"]("new")
    monkeypatch.setattr(restore, "Sysfs", lambda: FakeSysfs(kernel, tmp_path))
    leave_changed(kernel, tmp_path)
    kernel.remove("sys/class/devfreq/fb000000.gpu")
    assert restore.main([]) == 0
    out = capsys.readouterr().out
    assert out.startswith("restored 5 settings; the others wait in ")
    assert restore.main([]) == 0
    assert capsys.readouterr().out.startswith("restored 0 settings; the others wait in ")


# The kernel refuses


@pytest.mark.parametrize("code", [errno.EIO, errno.EBUSY, errno.EINVAL])
def test_write_that_fails_once_is_tried_again(machine, open_linux, code):
    sysfs = machine("rk3588")
    kernel = sysfs.kernel
    before = kernel.snapshot()
    board = open_linux(sysfs)
    board.apply({name: d.available_hz[0] for name, d in board.domains.items()})
    failing = [CPU0_MAX, "sys/class/devfreq/dmc/min_freq"]
    left = dict.fromkeys(failing, 2)

    def fail(operation, path):
        if operation == "write" and left.get(path, 0) > 0:
            left[path] -= 1
            raise OSError(code, os.strerror(code), path)

    kernel.before_access = fail
    board.close()
    assert kernel.snapshot() == before
    assert set(left.values()) == {0}
    assert not Journal.of_machine(sysfs).path.exists()


def test_everything_that_keeps_failing_is_named_and_only_that_stays_in_the_journal(
    machine, open_linux
):
    sysfs = machine("rk3588")
    kernel = sysfs.kernel
    before = kernel.snapshot()
    board = open_linux(sysfs)
    board.apply({name: d.available_hz[0] for name, d in board.domains.items()})
    failing = [CPU0_MAX, "sys/class/devfreq/dmc/min_freq"]
    kernel.fails_writes.update(dict.fromkeys(failing, errno.EIO))
    with pytest.raises(
        HardwareError, match=r"dmc/min_freq.*policy0/scaling_max_freq|policy0/sc.*dmc"
    ):
        board.close()
    entries = Journal.of_machine(sysfs).read().entries
    assert sorted(entry.setting["maximum"] for entry in entries) == [
        "sys/class/devfreq/dmc/max_freq",
        CPU0_MAX,
    ]
    kernel.fails_writes.clear()
    assert restored(kernel, sysfs.root) == 2
    assert kernel.snapshot() == before


def test_what_is_refused_blocks_no_start_and_is_tried_again_at_the_end(tmp_path, caplog):
    """As a governor whose module is gone."""
    kernel = BOARDS["raspberry-pi-4"]("new")
    governor = f"{CPU}/cpufreq/policy0/scaling_governor"
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path, Hold.USERSPACE)
    kernel.fails_writes[governor] = errno.EINVAL
    sysfs = FakeSysfs(kernel, tmp_path)
    with LinuxBoard(sysfs, hold=Hold.CAP, clock=kernel.clock, sleep=kernel.sleep) as board:
        assert "scaling_governor refused 'ondemand'; check which values" in caplog.text
        assert board.apply({"cpu": 600_000_000}) == {"cpu": 600_000_000}
        kernel.fails_writes.clear()
    assert kernel.snapshot() == before
    assert not Journal.of_machine(sysfs).path.exists()


def test_damaged_line_beside_a_failed_restore_loses_no_good_entry(tmp_path, generation):
    kernel = BOARDS["rk3588"](generation)
    before = kernel.snapshot()
    leave_changed(kernel, tmp_path)
    journal = Journal.of_machine(FakeSysfs(kernel, tmp_path))
    journal.path.write_bytes(b"\x00garbage\n" + journal.path.read_bytes())
    kernel.fails_writes[CPU0_MAX] = errno.EIO
    with pytest.raises(HardwareError, match=r"policy0.*line 1 of .*damaged.*kept as"):
        restored(kernel, tmp_path)
    assert (journal.folder / "journal.damaged.jsonl").exists()
    del kernel.fails_writes[CPU0_MAX]
    assert restored(kernel, tmp_path) == 1
    assert kernel.snapshot() == before


# Processes


def test_second_signal_while_giving_back_waits_for_the_end(tmp_path, generation):
    kernel = BOARDS["rk3588"](generation)
    before = kernel.snapshot()

    def drive(sysfs):
        real = LimitPair.restore

        def interrupted(self, value):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
            real(self, value)

        LimitPair.restore = interrupted
        with LinuxBoard(sysfs, hold=Hold.PIN, clock=sysfs.clock, sleep=sysfs.sleep) as board:
            board.apply({n: d.available_hz[0] for n, d in board.domains.items()})
            os.kill(os.getpid(), signal.SIGTERM)

    outcome = run_child(kernel, tmp_path, drive)
    assert outcome.exit_code == 128 + signal.SIGTERM
    assert kernel.snapshot() == before
    assert not Journal.of_machine(FakeSysfs(kernel, tmp_path)).path.exists()


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGUSR1, signal.SIGALRM, signal.SIGXCPU])
def test_other_signals_that_end_a_process_give_the_machine_back(tmp_path, number):
    kernel = BOARDS["raspberry-pi-4"]("new")
    before = kernel.snapshot()

    def drive(sysfs):
        with LinuxBoard(sysfs, hold=Hold.PIN, clock=sysfs.clock, sleep=sysfs.sleep) as board:
            while True:
                for hz in board.domains["cpu"].available_hz:
                    board.apply({"cpu": hz})

    run_child(kernel, tmp_path, drive, Kill(at_access=80, signal_number=number))
    assert kernel.snapshot() == before


def test_child_that_is_forked_leaves_the_machine_to_its_living_parent(tmp_path):
    """It exits in an ordinary way, drives nothing, and does not hold the lock for a dead parent."""
    kernel = BOARDS["raspberry-pi-4"]("new")
    before = kernel.snapshot()

    def drive(sysfs):
        board = LinuxBoard(sysfs, hold=Hold.PIN, clock=sysfs.clock, sleep=sysfs.sleep)
        board.open()
        board.apply({"cpu": 600_000_000})
        child = os.fork()
        if child == 0:
            raise SystemExit(0)  # the exit functions run, as in the parent
        assert os.waitpid(child, 0)[1] == 0
        assert board.domains["cpu"].read_limits_hz() == (600_000_000, 600_000_000)
        assert Journal.of_machine(sysfs).path.exists()
        child = os.fork()
        if child == 0:
            try:
                board.apply({"cpu": 900_000_000})
            except HardwareError as error:
                os._exit(0 if "was forked from" in str(error) else 2)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert board.domains["cpu"].read_limits_hz() == (600_000_000, 600_000_000)
        board.close()

    outcome = run_child(kernel, tmp_path, drive)
    assert (outcome.exit_code, outcome.error) == (0, "")
    assert kernel.snapshot() == before


@pytest.mark.parametrize("is_killed", [False, True])
def test_lock_does_not_outlive_its_process_in_a_forked_child(tmp_path, is_killed):
    kernel = BOARDS["raspberry-pi-4"]("new")
    reader, writer = os.pipe()
    ready, told = os.pipe()

    def drive(sysfs):
        session = Session(sysfs)
        session.begin()
        if os.fork() == 0:
            os.close(writer)
            sysfs._connection.close()
            os.write(told, b"1")
            os.read(reader, 1)  # lives until the test says so
            os._exit(0)
        os.read(ready, 1)
        if is_killed:
            os.kill(os.getpid(), signal.SIGKILL)
        session.end()

    try:
        run_child(kernel, tmp_path, drive)
        last = Session(FakeSysfs(kernel, tmp_path))
        last.begin()
        last.end()
    finally:
        for descriptor in (writer, reader, ready, told):
            os.close(descriptor)
