"""Saving, restoring and the journal, with real processes that are really killed."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import command
from hw import restore
from hw.base import Hold
from hw.boards.linux import LinuxBoard
from hw.errors import BusyError, HardwareError, JournalError, PermissionDeniedError
from hw.session.journal import Journal, JournalEntry
from hw.session.session import Session, restore_journal
from hw.settings.settings import Attribute
from tests.hw.fake.access import FakeSysfs, Kill, run_child
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import FakeKernel

GOVERNOR = "sys/devices/system/cpu/cpufreq/policy0/scaling_governor"
N_KILLS = 1000
"""Moments at which a controller is killed, spread over the boards."""
KILL_BOARDS = ("jetson-orin-nx", "jetson-nano", "rk3588", "x86-acpi", "raspberry-pi-5")
ADDRESS_LIMIT_BYTES = 64


def drive(sysfs, hold: Hold, steps: int = 3) -> None:
    """Control a board for a while, as a daemon does."""
    choose = random.Random(steps)
    board = LinuxBoard(sysfs, hold=hold, clock=sysfs.clock, sleep=sysfs.sleep)
    with board:
        for _ in range(steps):
            board.apply({n: choose.choice(d.available_hz) for n, d in board.domains.items()})
            board.verify()


def give_back(kernel: FakeKernel, root) -> int:
    """What the next start and `hw.restore` do."""
    sysfs = FakeSysfs(kernel, root)
    journal = Journal.of_machine(sysfs)
    journal.lock()
    try:
        return restore_journal(sysfs, journal)
    finally:
        journal.unlock()


@pytest.mark.parametrize("name", KILL_BOARDS)
def test_killed_at_any_moment_the_machine_comes_back_as_it_was(name, tmp_path):
    """SIGKILL of a real process at each of its accesses, and at random times between them."""
    choose = random.Random(name)
    kernel = BOARDS[name]("new")
    before, requests = kernel.snapshot(), kernel.requests()
    n_accesses = len(run_child(kernel, tmp_path, lambda s: drive(s, Hold.PIN)).accesses)
    for trial in range(N_KILLS // len(KILL_BOARDS)):
        hold = choose.choice((Hold.PIN, Hold.CAP))
        if trial % 2:
            kill = Kill(at_access=choose.randrange(n_accesses), after_effect=choose.random() < 0.5)
        else:
            kill = Kill(after_s=choose.uniform(0.0, 0.03))
        run_child(kernel, tmp_path, lambda s, hold=hold: drive(s, hold), kill)
        give_back(kernel, tmp_path)
        assert kernel.snapshot() == before, kill
        assert kernel.requests() == requests, kill
        assert not Journal.of_machine(FakeSysfs(kernel, tmp_path)).path.exists()


def test_kill_that_hits_leaves_a_changed_machine_until_it_is_given_back(pi, tmp_path):
    """The test above would pass if nothing were ever changed."""
    before = pi.kernel.snapshot()
    outcome = run_child(pi.kernel, tmp_path, lambda s: drive(s, Hold.PIN))
    last_write = max(i for i, (op, _) in enumerate(outcome.accesses) if op == "write")
    kill = Kill(at_access=last_write - 2)
    assert run_child(pi.kernel, tmp_path, lambda s: drive(s, Hold.PIN), kill).was_killed
    assert pi.kernel.snapshot() != before
    assert give_back(pi.kernel, tmp_path) == 1
    assert pi.kernel.snapshot() == before


@pytest.mark.parametrize("number", command.SIGNALS, ids=lambda number: number.name)
def test_signals_that_can_be_caught_give_the_machine_back_themselves(pi, tmp_path, number):
    before = pi.kernel.snapshot()

    def endless(sysfs):
        drive(sysfs, Hold.PIN, steps=10_000)

    kill = Kill(at_access=60, signal_number=number)
    outcome = run_child(pi.kernel, tmp_path, endless, kill)
    assert len(outcome.accesses) < 400
    assert pi.kernel.snapshot() == before
    assert not Journal.of_machine(pi).path.exists()


def test_signal_right_after_a_line_of_the_journal_leaves_no_journal(pi, monkeypatch):
    session = Session(pi)
    session.begin()
    sync = os.fsync

    def interrupted(descriptor):
        sync(descriptor)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("hw.session.journal.os.fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session.save(Attribute(pi, pi.path(GOVERNOR)))
    session.end()
    assert not Journal.of_machine(pi).path.exists()


def test_process_that_forgets_to_close_gives_the_machine_back_at_exit(pi, tmp_path):
    before = pi.kernel.snapshot()

    def careless(sysfs):
        board = LinuxBoard(sysfs, hold=Hold.PIN, clock=sysfs.clock, sleep=sysfs.sleep)
        board.open()
        board.apply({"cpu": 900_000_000})

    outcome = run_child(pi.kernel, tmp_path, careless)
    assert (outcome.exit_code, outcome.error) == (0, "")
    assert pi.kernel.snapshot() == before


def test_next_start_restores_before_it_saves(pi, tmp_path, open_linux):
    before = pi.kernel.snapshot()
    kill_amid(pi.kernel, tmp_path)
    board = open_linux(pi)
    board.apply({"cpu": 700_000_000})
    board.close()
    assert pi.kernel.snapshot() == before


OPERATIONS = st.sampled_from(("apply", "cool", "verify", "crash", "reopen", "rest"))


@given(st.lists(st.tuples(OPERATIONS, st.integers(0, 10**6)), max_size=25), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_operations_ends_with_the_machine_as_it_was(tmp_path, operations, data):
    """Requests, thermal caps that come and go, crashes and restarts, on any board and kernel."""
    name = data.draw(st.sampled_from(sorted(BOARDS)))
    kernel = BOARDS[name](data.draw(st.sampled_from(("old", "new"))))
    hold = data.draw(st.sampled_from((Hold.CAP, Hold.PIN)))
    before, requests = kernel.snapshot(), kernel.requests()
    coolers = [d for n, d in sorted(kernel.devices.items()) if n.startswith("cooling_device")]

    def fresh() -> LinuxBoard:
        sysfs = FakeSysfs(kernel, tmp_path)
        board = LinuxBoard(sysfs, hold=hold, clock=kernel.clock, sleep=kernel.sleep)
        board.open()
        return board

    board = fresh()
    for operation, number in operations:
        if operation == "apply":
            choose = random.Random(number)
            board.apply({n: choose.choice(d.available_hz) for n, d in board.domains.items()})
        elif operation == "cool" and coolers:
            cooler = coolers[number % len(coolers)]
            cooler.cool(number // len(coolers) % (cooler.last_state + 1))
        elif operation == "verify":
            board.verify()
        elif operation == "crash":
            abandon(board)
            board = fresh()
        elif operation == "reopen":
            board.close()
            board = fresh()
        else:
            kernel.sleep(0.25)
    for cooler in coolers:
        cooler.cool(0)
    board.close()
    assert kernel.snapshot() == before
    assert kernel.requests() == requests


def abandon(board: LinuxBoard) -> None:
    """What the death of its process leaves: the journal, and no lock."""
    board._session._journal.unlock()
    board._session._saved.clear()
    board.close()


def test_nothing_is_changed_before_it_is_on_disk(pi, tmp_path, monkeypatch):
    """Every first write of a file comes after an fsync of a journal that names it."""
    synced: list[str] = []
    journal = tmp_path / "var/lib/dvfo/journal.jsonl"
    real_fsync = os.fsync

    def fsync(descriptor):
        real_fsync(descriptor)
        synced.append(journal.read_text() if journal.exists() else "")

    monkeypatch.setattr(os, "fsync", fsync)

    def check(operation, path):
        if operation == "write" and path.startswith("sys"):
            assert path in synced[-1]

    pi.kernel.before_access = check
    drive_here(pi)
    assert synced


def drive_here(sysfs) -> None:
    kernel = sysfs.kernel
    with LinuxBoard(sysfs, hold=Hold.PIN, clock=kernel.clock, sleep=kernel.sleep) as board:
        board.apply({"cpu": 700_000_000})


def test_full_disk_stops_the_change_and_not_the_machine(pi, tmp_path, monkeypatch):
    before = pi.kernel.snapshot()
    kernel = pi.kernel
    board = LinuxBoard(pi, hold=Hold.PIN, clock=kernel.clock, sleep=kernel.sleep)
    board.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ADDRESS_LIMIT_BYTES, hard))
    try:
        with pytest.raises(JournalError, match=r"journal\.jsonl.*make room"):
            board.apply({"cpu": 700_000_000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kernel.writes == []
    board.apply({"cpu": 700_000_000})  # there is room again, and the half line is gone
    board.close()
    assert kernel.snapshot() == before


def test_two_controllers_are_refused_by_name_and_the_lock_ends_with_the_process(pi, tmp_path):
    first = Session(pi)
    first.begin()
    with pytest.raises(BusyError, match=rf"driven by process {os.getpid()} .*stop that first"):
        Session(pi).begin()
    first.end()
    run_child(pi.kernel, tmp_path, lambda s: Session(s).begin(), Kill(after_s=0.2))
    last = Session(pi)
    last.begin()
    last.end()


def test_folder_that_may_not_be_written_names_the_command(pi, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "lock").mkdir()  # root may write anywhere, but nobody opens a folder for writing
    with pytest.raises(JournalError, match="cannot be used"):
        Session(pi, folder).begin()
    error = Journal.of_machine(pi, folder)._error(PermissionError(errno.EACCES, "no", str(folder)))
    assert isinstance(error, PermissionDeniedError)
    assert f"sudo install -d -m 2770 -g GROUP {folder}" in str(error)


# Journals as they are found


@pytest.fixture
def found(pi, tmp_path):
    """Write a journal with given lines, changed governor included, and restore it."""
    sysfs = pi

    def restore_lines(*lines: str) -> int:
        journal = Journal.of_machine(sysfs)
        journal.folder.mkdir(parents=True, exist_ok=True)
        journal.path.write_text("".join(lines))
        return give_back(sysfs.kernel, tmp_path)

    return restore_lines


def line(sysfs, path: str = GOVERNOR, saved: str = "ondemand", **changes: object) -> str:
    """One line of a journal."""
    document = {
        "boot_id": sysfs.read_text(sysfs.path("proc/sys/kernel/random/boot_id")),
        "setting": {"kind": "attribute", "path": path, "shown": path},
        "saved": saved,
        "power_mode": None,
    }
    return json.dumps({**document, **changes}) + "\n"


def test_journal_of_an_earlier_boot_is_void(pi, found):
    pi.kernel.write(GOVERNOR, "powersave")
    assert found(line(pi, boot_id="another")) == 0
    assert pi.kernel.read(GOVERNOR).strip() == "powersave"
    assert not Journal.of_machine(pi).path.exists()


def test_line_that_was_cut_short_is_left_out(pi, found):
    pi.kernel.write(GOVERNOR, "powersave")
    assert found(line(pi), line(pi, saved="performance")[:-9]) == 1
    assert pi.kernel.read(GOVERNOR).strip() == "ondemand"


@pytest.mark.parametrize(
    "garbage",
    ["\x00\x01\n", "[]\n", "{}\n", '{"boot_id": 1, "setting": {}}\n', "null\n"],
)
def test_damaged_line_is_told_once_and_the_others_are_restored(pi, found, garbage):
    pi.kernel.write(GOVERNOR, "powersave")
    with pytest.raises(HardwareError, match=r"line 1 of .*damaged.*kept as"):
        found(garbage, line(pi))
    assert pi.kernel.read(GOVERNOR).strip() == "ondemand"
    assert (Journal.of_machine(pi).folder / "journal.damaged.jsonl").exists()
    assert give_back(pi.kernel, pi.root) == 0


def kill_amid(kernel, folder):
    """A process that is killed while it drives."""
    whole = run_child(kernel, folder, lambda s: drive(s, Hold.PIN, 9))
    assert whole.error == ""
    kill = Kill(at_access=len(whole.accesses) // 2)
    assert run_child(kernel, folder, lambda s: drive(s, Hold.PIN, 9), kill).was_killed


@pytest.mark.parametrize("path", ["etc/passwd", "sys/../etc/passwd", "/etc/passwd", ""])
def test_journal_cannot_make_root_write_outside_sys(pi, found, path):
    with pytest.raises(HardwareError, match="no file that a clock is set by"):
        found(line(pi, path=path))
    assert pi.kernel.writes == []


def test_setting_of_an_earlier_power_mode_is_left_to_the_new_one(machine, tmp_path):
    sysfs = machine("jetson-orin-nx")
    outcome = run_child(sysfs.kernel, tmp_path, lambda s: drive(s, Hold.PIN))
    assert outcome.error == ""
    kill = Kill(at_access=len(outcome.accesses) - 60)
    assert run_child(sysfs.kernel, tmp_path, lambda s: drive(s, Hold.PIN), kill).was_killed
    nvpmodel = sysfs.kernel.devices["nvpmodel"]
    nvpmodel.switch_power_mode(next(m for m in nvpmodel.modes if m != nvpmodel.mode))
    chosen = sysfs.kernel.requests()
    give_back(sysfs.kernel, tmp_path)
    assert sysfs.kernel.requests() == chosen


def test_what_cannot_be_restored_is_named_and_stays_in_the_journal(pi, tmp_path):
    before = pi.kernel.snapshot()
    kill_amid(pi.kernel, tmp_path)
    path = "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq"
    pi.kernel.fails_writes[path] = errno.EIO
    with pytest.raises(HardwareError, match=r"could not restore everything.*scaling_min_freq"):
        give_back(pi.kernel, tmp_path)
    del pi.kernel.fails_writes[path]
    assert give_back(pi.kernel, tmp_path) == 1
    assert pi.kernel.snapshot() == before


def test_restoring_goes_from_the_last_change_to_the_first(pi):
    written = []
    pi.kernel.before_access = lambda op, path: op == "write" and written.append(path)
    session = Session(pi)
    session.begin()
    names = (
        GOVERNOR,
        GOVERNOR.replace("governor", "min_freq"),
        GOVERNOR.replace("governor", "max_freq"),
    )
    values = ("powersave", "800000", "1500000")
    for name, value in zip(names, values, strict=True):
        setting = Attribute(pi, pi.path(name))
        session.save(setting)
        setting.write(value)
    written.clear()
    session.end()
    assert written == list(names[::-1])


# The command


def test_command_restores_and_says_so(pi, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(restore, "Sysfs", lambda: FakeSysfs(pi.kernel, tmp_path))
    before = pi.kernel.snapshot()
    assert restore.main([]) == 0
    assert capsys.readouterr().out == "nothing to restore\n"
    kill_amid(pi.kernel, tmp_path)
    assert restore.main([]) == 0
    assert "restored 1 setting" in capsys.readouterr().out
    assert pi.kernel.snapshot() == before


def test_command_leaves_a_living_controller_alone(pi, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(restore, "Sysfs", lambda: FakeSysfs(pi.kernel, tmp_path))
    session = Session(pi)
    session.begin()
    session.save(Attribute(pi, pi.path(GOVERNOR)))
    assert restore.main([]) == 2
    assert "stop that first" in capsys.readouterr().err
    session.end()


def test_entries_survive_the_way_through_the_file(pi, tmp_path):
    journal = Journal.of_machine(pi)
    journal.lock()
    entries = [JournalEntry({"kind": "limits", "minimum": "a", "maximum": "b"}, [1, 2], "3")]
    entries.append(JournalEntry({"kind": "attribute", "path": "c", "shown": "d"}, "text"))
    for entry in entries:
        journal.append(entry)
    journal.append(JournalEntry(entries[0].setting, [5, 6], "3"))
    assert journal.read().entries == [JournalEntry(entries[0].setting, [5, 6], "3"), entries[1]]
    journal.keep([])
    journal.unlock()
    assert journal.read().entries == []
